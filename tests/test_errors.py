import errno

from rcm_cascade.errors import explain_os_error


def test_a_full_disk_says_what_helps() -> None:
    assert explain_os_error(OSError(errno.ENOSPC, "No space left on device")) == (
        "no space left on device; make room there, or choose another disk"
    )
    assert explain_os_error(OSError(errno.EISDIR, "Is a directory", ".a.tmp", None, "a")).startswith("a cannot be")
