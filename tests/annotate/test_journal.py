import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rcm_cascade.annotate.journal import Journal
from rcm_cascade.annotate.outputs import FORMATS, journal_of, output_paths, write_annotation
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import digest
from tests.annotate.annotated import annotated

ONE, TWO = "cd" * 32, "ef" * 32
CHECKPOINT = "12" * 32


def write(out: Path, image: Path, sha256: str = ONE, **changed: Any) -> dict[str, Path]:
    return write_annotation(out, image, annotated(60, 80, source_sha256=sha256, **changed))


def refuse(out: Path, image: Path, sha256: str = ONE, replace: bool = False) -> None:
    journal_of(out, image).refuse_others(lambda: sha256, replace)


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def is_vouched_for(out: Path) -> bool:
    """Whether a summary is there; what it lists must be as it says."""
    summary = out / "a.json"
    if not summary.exists():
        return False
    listed = json.loads(summary.read_text("utf-8"))["files"]
    assert listed == {name: digest(out / name) for name in ("a.labels.ome.tif", "a.overlay.png")}
    return True


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "in" / "a.tif"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["a.json", "a.labels.ome.tif", "a.overlay.png"])
def test_a_strangers_file_is_refused_before_and_while_writing_and_left(name: str, out: Path, image: Path) -> None:
    out.mkdir()
    (out / name).write_text('{"shapes": []}')
    for attempt in (refuse, write):
        with pytest.raises(InputError, match=rf"{name}, which is not a file of annotate's; .*--out.*--replace"):
            attempt(out, image)

    assert content(out) == {name: b'{"shapes": []}'}

    refuse(out, image, replace=True)
    write_annotation(out, image, annotated(source_sha256=ONE), replace=True)
    assert is_vouched_for(out)


@pytest.mark.parametrize(
    "summary", [b"[" * 100_000, b"\xff\xfe{", b"null", b'{"maker": 3, "mosaic": 1, "source_sha256": 2}', b'"maker"']
)
def test_json_of_others_is_a_strangers_file_whatever_is_in_it(summary: bytes, out: Path, image: Path) -> None:
    out.mkdir()
    (out / "a.json").write_bytes(summary)

    with pytest.raises(InputError, match="not a file of annotate's"):
        refuse(out, image)


def test_a_link_to_nothing_is_somebodys_and_a_folder_is_never_replaced(out: Path, image: Path) -> None:
    out.mkdir()
    (out / "a.overlay.png").symlink_to("nowhere")
    with pytest.raises(InputError, match="--replace"):
        refuse(out, image)
    (out / "a.overlay.png").unlink()
    (out / "a.overlay.png").mkdir()
    for replace in (False, True):
        with pytest.raises(InputError, match=r"which is a folder; choose another folder with --out$"):
            refuse(out, image, replace=replace)


def test_a_file_that_was_changed_since_is_the_users(out: Path, image: Path) -> None:
    paths = write(out, image)
    refuse(out, image)
    paths["labels"].write_bytes(b"corrected by hand")

    with pytest.raises(InputError, match="is not what annotate wrote there"):
        write(out, image, checkpoint_sha256=CHECKPOINT)
    assert paths["labels"].read_bytes() == b"corrected by hand"


def test_a_users_file_where_a_new_format_would_go_is_left(
    out: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(out, image)
    added: Any = ModuleType("shares")
    added.SUFFIX, added.write = ".shares", lambda path, stem, annotated, wanted: path.write_text("ours")
    monkeypatch.setitem(FORMATS, "shares", added)
    refuse(out, image)
    (out / "a.shares").write_text("drawn by hand")

    with pytest.raises(InputError, match=r"a\.shares, which is not what annotate wrote there"):
        refuse(out, image)


def test_another_mosaic_of_the_name_is_refused_and_the_same_one_is_not(out: Path, image: Path) -> None:
    write(out, image)
    other = image.parent.parent / "other" / "a.tif"
    before = content(out)

    for attempt in (refuse, write):
        with pytest.raises(InputError, match=r"other/a\.tif would replace .*made from another mosaic of this name"):
            attempt(out, other, TWO)
    assert content(out) == before

    refuse(out, other, ONE)  # a copy
    write(out, image, TWO)  # changed where it lies
    assert json.loads((out / "a.json").read_text("utf-8"))["source_sha256"] == TWO


def test_arrays_are_told_by_the_name_alone(out: Path, image: Path) -> None:
    write(out, image, "")
    write(out, image, "", checkpoint_sha256=CHECKPOINT)

    with pytest.raises(InputError, match="another mosaic"):
        refuse(out, Path("elsewhere/a.tif"), "")


def test_mosaics_and_results_may_move_together(tmp_path: Path) -> None:
    study = tmp_path / "study"
    write(study / "out", study / "in" / "a.tif")
    study.rename(tmp_path / "moved")

    refuse(tmp_path / "moved" / "out", tmp_path / "moved" / "in" / "a.tif", TWO)
    with pytest.raises(InputError, match="another mosaic"):
        refuse(tmp_path / "moved" / "out", tmp_path / "moved" / "in2" / "a.tif", TWO)


def test_a_link_that_leads_to_another_file_is_a_changed_mosaic(tmp_path: Path, out: Path) -> None:
    link = tmp_path / "a.tif"
    link.symlink_to("store/1.tif")
    write(out, link)
    link.unlink()
    link.symlink_to("store/2.tif")

    refuse(out, link, TWO)


def test_no_output_says_where_the_mosaic_lies(tmp_path: Path, out: Path) -> None:
    write(out, tmp_path / "Jane Doe" / "a.tif")

    assert not any(b"Jane" in found for found in content(out).values())


def as_of_0_1(out: Path) -> None:
    """Turns a summary into one of the release 0.1, which named neither files nor place."""
    told = json.loads((out / "a.json").read_text("utf-8"))
    for key in ("maker", "source_place", "files"):
        del told[key]
    (out / "a.json").write_text(json.dumps(told), "utf-8")


def test_results_of_earlier_releases_are_the_mosaics_where_its_content_is_the_same(out: Path, image: Path) -> None:
    write(out, image)
    as_of_0_1(out)

    refuse(out, image)
    with pytest.raises(InputError, match="made from another mosaic"):
        refuse(out, image, TWO)
    write(out, image, checkpoint_sha256=CHECKPOINT)
    assert is_vouched_for(out)


def test_names_near_the_limit(tmp_path: Path) -> None:
    longest = "n" * (255 - len(".labels.ome.tif"))
    assert sorted(write(tmp_path, Path(f"{longest}.tif")).values()) == sorted(tmp_path.iterdir())
    for stem, excess in ((longest + "n", 1), ("ü" * 125, 10)):
        with pytest.raises(InputError, match=rf"\.labels\.ome\.tif, {excess} bytes above the 255 .*rename the mosaic"):
            refuse(tmp_path, Path(f"{stem}.tif"))


KILLED = """
import os, signal, sys
from pathlib import Path
from rcm_cascade.annotate.outputs import FORMATS, write_annotation
from tests.annotate.annotated import annotated
out, image, sha256, checkpoint, call, name = sys.argv[1:]

def dies(right):
    def called(path, *given, **more):
        target = given[0] if call == "replace" else path
        if Path(target).name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return right(path, *given, **more)
    return called

if call == "write":
    right = FORMATS[name].write
    def half(path, *given):
        right(path, *given)
        path.with_name(".left.tmp").write_bytes(b"left")
        os.kill(os.getpid(), signal.SIGKILL)
    FORMATS[name].write = half
else:
    setattr(Path, call, dies(getattr(Path, call)))
write_annotation(Path(out), image, annotated(60, 80, source_sha256=sha256, checkpoint_sha256=checkpoint))
"""


@pytest.mark.parametrize(
    ("call", "name", "finished"),
    [
        ("write", "overlay", True),  # in the midst of making the files
        ("replace", "a.labels.ome.tif", False),  # the journal is there, the old summary gone
        ("replace", "a.json", False),  # all but the summary are in place
        ("unlink", "journal", True),  # all are
    ],
    ids=str,
)
def test_a_killed_process_is_made_good_by_the_same_call(
    call: str, name: str, finished: bool, out: Path, image: Path
) -> None:
    write(out, image)
    old = content(out)
    given = [str(out), str(image), TWO, CHECKPOINT, call, name]
    killed = subprocess.run([sys.executable, "-c", KILLED, *given], capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert any(path.is_dir() for path in out.iterdir())

    assert is_vouched_for(out) == finished
    with pytest.raises(InputError, match="another mosaic of this name"):
        write(out, image.parent.parent / "other" / "a.tif", "99" * 32)
    if call == "write":
        assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == old
    refuse(out, image, TWO)

    write(out, image, TWO, checkpoint_sha256=CHECKPOINT)

    assert set(content(out)) == set(old)
    assert is_vouched_for(out)
    told = json.loads((out / "a.json").read_text("utf-8"))
    assert (told["source_sha256"], told["checkpoint"]["sha256"]) == (TWO, CHECKPOINT)


def test_what_was_replaced_in_an_interrupted_set_by_its_user_is_theirs(
    out: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = output_paths(out, image)
    with monkeypatch.context() as patch:
        right = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if target == paths["overlay"]:
                raise KeyboardInterrupt
            return right(path, target)

        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            write(out, image)
    refuse(out, image)
    paths["labels"].write_text("corrected by hand")

    with pytest.raises(InputError, match="is not what annotate wrote there"):
        write(out, image)
    assert paths["labels"].read_text() == "corrected by hand"


def test_two_at_once_leave_the_files_of_one(out: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(right: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            time.sleep(0.02)
            return right(*given)

        return called

    monkeypatch.setattr(Path, "replace", slowly(Path.replace))
    grey = [np.full((60, 80), value, np.uint8) for value in (10, 90, 170, 250)]
    mosaics = [annotated(60, 80, source_sha256=ONE, image=each, labels=each // 50) for each in grey]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write_annotation, out, image, mosaic) for mosaic in mosaics]:
            done.result()

    assert is_vouched_for(out)
    assert len(content(out)) == 3


def test_what_is_finished_is_cleared_unless_another_is_at_it(out: Path, image: Path) -> None:
    write(out, image)
    journal = journal_of(out, image)
    with journal.replacing(ONE) as made:
        journal.clear()
        assert next(iter(made.values())).parent.is_dir()
        for path in made.values():
            path.write_text("new")
    left = next(iter(made.values())).parent
    left.mkdir()
    (left / "journal").write_text("{}")
    left.with_suffix(".lock").touch()
    (left / "a.overlay.png").write_text("left")

    journal.clear()

    assert len(content(out)) == 3
    assert isinstance(journal, Journal)
