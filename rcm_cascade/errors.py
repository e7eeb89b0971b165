"""Errors that users see as a sentence: our own, and what the system says."""

import errno
import reprlib
from collections.abc import Mapping
from typing import Any, Final


class InputError(ValueError):
    """Something the user gave is wrong: a file, a value, a folder.

    The message is one sentence that says what was got, what was expected, which file or key, and what to do. The
    command line prints it without a traceback and exits with status 2; everything else that escapes is a bug.
    """


class JobsFailedError(Exception):
    """Some of several jobs failed, each alone; the message names them. The command line exits with status 1."""


def reason(error: Exception) -> str:
    """What a library complains of, in one line; what pydantic refuses, by its keys."""
    from pydantic import ValidationError  # a tenth of a second to import

    if isinstance(error, ValidationError):
        found = [(".".join(map(str, e["loc"])), e) for e in error.errors()[:5]]
        return "; ".join(f"{key}: {_fault(e)}" if key else e["msg"] for key, e in found)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def _fault(error: Mapping[str, Any]) -> str:
    """What pydantic says of one key, and the value, where that says more; YAML aliases can make it gigabytes."""
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("missing", "value_error", "unexpected_keyword_argument"):
        return str(text)
    unquoted = error["type"] == "string_type" and isinstance(error["input"], int | float | None)
    quote = "; put it in quotes" if unquoted else ""
    return f"{text}, not {reprlib.repr(error['input']):.60}{quote}"


_ROOM: Final = "make room there, or choose another disk"
_LEAVE: Final = "choose a folder that you may write to, or change its permissions"
_REMEDIES: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _LEAVE,
    errno.EPERM: _LEAVE,
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOENT: "give a path that exists",
    errno.ENOTDIR: "choose another folder: a part of this path is a file",
    errno.EISDIR: "choose another path: this one is a folder",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EEXIST: "choose another path, or move what is there away",
}


def explain_os_error(error: OSError) -> str:
    """What the system refused, with the file and what helps, as far as they are known."""
    if error.strerror is None:
        return str(error)
    name = error.filename if error.filename2 is None else error.filename2  # of two, what was written took a name last
    text = error.strerror.lower() if name is None else f"{name} cannot be read or written ({error.strerror.lower()})"
    remedy = _REMEDIES.get(error.errno or 0)
    return text if remedy is None else f"{text}; {remedy}"
