import errno
import json
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from experiments.starter.export import export_checkpoint
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.cohort import annotate_files, find_images
from rcm_cascade.annotate.outputs import FORMATS, journal_of, output_paths
from rcm_cascade.annotate.starter import WHAT_IT_IS, starter_path
from rcm_cascade.annotate.table import TABLE
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.data.formats.base import suffixes
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.resample import ResolutionWarning
from rcm_cascade.errors import InputError
from rcm_cascade.files import printable
from rcm_cascade.models.checkpoint import digest
from tests.annotate.telling import noise

ENDINGS = tuple(path.name.removeprefix("x") for path in output_paths(Path(), "x.tif", Wanted()).values())


@pytest.fixture
def checkpoint(finished_run: Path) -> Path:
    return finished_run / "checkpoints" / "best.ckpt"


def write(path: Path, seed: int, pixel_size_um: float | None = 8.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    if pixel_size_um is None:
        tifffile.imwrite(path, noise(90, 110, seed=seed))
    else:
        per_cm = 1e4 / pixel_size_um
        tifffile.imwrite(path, noise(90, 110, seed=seed), resolution=(per_cm, per_cm), resolutionunit="CENTIMETER")
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != TABLE)


def written(stems: Sequence[str]) -> list[str]:
    return sorted(f"{stem}{ending}" for stem in stems for ending in ENDINGS)


def told(out: Path, stem: str) -> Any:
    return json.loads((out / f"{stem}.json").read_text("utf-8"))


def stamps(out: Path, stem: str) -> list[tuple[int, int]]:
    """Changes whenever the files are written anew."""
    return [((s := (out / f"{stem}{ending}").stat()).st_ino, s.st_mtime_ns) for ending in ENDINGS]


def test_three_files_a_mosaic_and_a_broken_one_in_the_middle_stops_nothing(
    checkpoint: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (e.image for e in read_dataset(phantoms).entries[:2])
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\x00 nothing")
    failed = annotate_files([first, broken, second], [checkpoint], tmp_path / "out")
    assert failed == 1
    out, error = capsys.readouterr()
    assert error.count("broken.tif") == 1
    assert "finished earlier" not in error
    assert [Path(line).name for line in out.splitlines()] == [
        f"{image.stem}{ending}" for image in (first, second) for ending in ENDINGS
    ]
    assert names(tmp_path / "out") == written([first.stem, second.stem])
    labels = tifffile.imread(tmp_path / "out" / f"{first.stem}.labels.ome.tif")
    assert labels.shape == tifffile.imread(first).shape
    assert labels.dtype == np.uint8
    assert told(tmp_path / "out", first.stem)["pixel_size_um"] == pytest.approx(8)
    assert told(tmp_path / "out", first.stem)["synthetic"]


def test_without_a_checkpoint_the_starter_annotates_and_everything_says_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.tif", seed=ord(name), pixel_size_um=4.0)

    assert annotate_files([tmp_path / "in"], [], tmp_path / "out") == 0

    error = capsys.readouterr().err
    assert error.count(WHAT_IT_IS) == 1
    assert "rcm-cascade train data=folder" in error
    assert names(tmp_path / "out") == written(["a", "b"])
    record = told(tmp_path / "out", "a")
    assert record["synthetic"] is True
    assert record["note"] == "trained on synthetic mosaics: reads no tissue"
    assert record["checkpoint"] == {
        "name": "starter.safetensors",
        "sha256": digest(starter_path()),
        "init_sha256": None,
    }
    assert (record["pixel_size_um"], record["working_pixel_size_um"]) == (4, 8)
    with tifffile.TiffFile(tmp_path / "out" / "a.labels.ome.tif") as file:
        assert "5 patternless; trained on synthetic mosaics: reads no tissue" in str(file.ome_metadata)
    expected = Annotator.load(starter_path()).annotate(tmp_path / "in" / "a.tif")
    assert (tifffile.imread(tmp_path / "out" / "a.labels.ome.tif") == expected.labels).mean() > 0.999


def test_int8_of_the_starter_is_refused_before_work_starts(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    image = write(tmp_path / "a.tif", seed=60)
    with pytest.raises(InputError, match=r"starter\.safetensors has not been quantised: .*--checkpoint C"):
        annotate_files([image], [], tmp_path / "out", AnnotationOptions(precision="int8"))
    assert not (tmp_path / "out").exists()


def test_an_export_annotates_as_its_checkpoint_does(checkpoint: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "in" / "a.tif", seed=60)
    exported = tmp_path / "mine.safetensors"
    export_checkpoint(checkpoint, exported)
    annotate_files([image], [checkpoint], tmp_path / "one")
    annotate_files([image], [exported], tmp_path / "two")
    labels = [tifffile.imread(tmp_path / out / "a.labels.ome.tif") for out in ("one", "two")]
    assert np.array_equal(labels[0], labels[1])
    assert told(tmp_path / "two", "a")["checkpoint"]["name"] == "mine.safetensors"


def test_two_mosaics_of_one_stem_are_refused_before_work_starts(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a/x\.tif.*b/x\.png|b/x\.png.*a/x\.tif"):
        annotate_files([Path("a/x.tif"), Path("b/x.png")], [checkpoint], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_are_the_annotator_s(checkpoint: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "in" / "a.tif", seed=60)
    options = AnnotationOptions(precision="fp32", backend="torch", tile=64, memory=10**8)

    assert annotate_files([image], [checkpoint], tmp_path / "out", options) == 0

    expected = Annotator.load(checkpoint).annotate(image, AnnotationOptions(precision="fp32", backend="torch"))
    found = tifffile.imread(tmp_path / "out" / "a.labels.ome.tif")
    assert (found == expected.labels).mean() > 0.999
    record = told(tmp_path / "out", "a")
    assert (record["precision"], record["backend"]) == ("fp32", "torch")
    assert [rows for rows, _ in record["tile"]][-1] == 64
    assert record["timing"]["read_s"] > 0


def test_a_folder_stands_for_the_mosaics_in_it(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("b.tif", "a.tif"):
        write(folder / name, seed=ord(name[0]))
    (folder / "notes.txt").write_text("no mosaic")
    write(folder / "deeper" / "c.tif", seed=61)

    assert annotate_files([folder], [checkpoint], tmp_path / "out") == 0

    assert names(tmp_path / "out") == written(["a", "b"])


def test_own_outputs_and_hidden_files_are_no_mosaics(tmp_path: Path) -> None:
    for name in ("a.tif", "a.labels.ome.tif", "a.overlay.png", "a.json", ".b.tif", "C.TIFF", "d.ome.tif", "e.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "z.tif").mkdir()

    assert [p.name for p in find_images([tmp_path])] == ["C.TIFF", "a.tif", "d.ome.tif"]
    assert find_images([tmp_path / "a.overlay.png", tmp_path])[0].name == "a.overlay.png"


@pytest.mark.parametrize("suffix", suffixes())
def test_every_format_is_found(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"m{suffix}").write_bytes(b"x")

    assert find_images([tmp_path]) == [tmp_path / f"m{suffix}"]


def test_annotating_into_the_mosaics_folder_twice_takes_the_mosaics_alone(checkpoint: Path, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.tif", seed=62)
    for _ in range(2):
        assert annotate_files([tmp_path / "in"], [checkpoint], tmp_path / "in") == 0

    assert names(tmp_path / "in") == sorted(["a.tif", *written(["a"])])


def test_an_empty_folder_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no mosaic")

    with pytest.raises(InputError, match=r"in holds no mosaic; expected files that end in \.png"):
        annotate_files([tmp_path / "in"], [checkpoint], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_finished_is_left_as_it_is_and_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    write(tmp_path / "in" / "a.tif", seed=63)
    write(tmp_path / "in" / "b.tif", seed=64)
    annotate_files([tmp_path / "in"], [checkpoint], out)
    before = stamps(out, "a") + stamps(out, "b")
    capsys.readouterr()

    assert annotate_files([tmp_path / "in"], [checkpoint], out) == 0

    printed, error = capsys.readouterr()
    assert printed == ""
    assert "2 finished earlier" in error
    assert stamps(out, "a") + stamps(out, "b") == before


def test_failures_are_told_again_at_the_end_where_much_was_said_before(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, missing = write(tmp_path / "a.tif", seed=65), tmp_path / "missing.tif"
    (tmp_path / "broken.tif").write_bytes(b"II*\x00 nothing")
    images = [tmp_path / "broken.tif", good, missing]

    assert annotate_files(images, [checkpoint], tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-3] == "2 failed:"
    assert "broken.tif" in error.splitlines()[-2]
    assert "missing.tif" in error.splitlines()[-1]

    assert annotate_files(images, [checkpoint], tmp_path / "out") == 2
    assert "1 finished earlier" in capsys.readouterr().err


@pytest.fixture
def annotated_once(checkpoint: Path, tmp_path: Path) -> Path:
    """A folder with mosaics a and b, and ``out`` beside it."""
    for number, name in enumerate(("a.tif", "b.tif")):
        write(tmp_path / "in" / name, seed=66 + number)
    annotate_files([tmp_path / "in"], [checkpoint], tmp_path / "out")
    return tmp_path


def done_again(
    folder: Path, checkpoint: Path, options: AnnotationOptions | None = None, pixel_size_um: float | None = None
) -> list[bool]:
    """Whether a and b are."""
    before = [stamps(folder / "out", stem) for stem in "ab"]
    assert annotate_files([folder / "in"], [checkpoint], folder / "out", options, pixel_size_um) == 0
    assert names(folder / "out") == written(["a", "b"])
    return [stamps(folder / "out", stem) != b for stem, b in zip("ab", before, strict=True)]


def test_a_changed_mosaic_is_done_again(annotated_once: Path, checkpoint: Path) -> None:
    write(annotated_once / "in" / "b.tif", seed=70)

    assert done_again(annotated_once, checkpoint) == [False, True]


def test_another_checkpoint_does_all_again(annotated_once: Path, checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=False)
    head = next(key for key in reversed(content["state_dict"]) if key.endswith("bias"))
    content["state_dict"][head] = content["state_dict"][head].flip(0)
    other = tmp_path / "best.ckpt"
    torch.save(content, other)

    assert done_again(annotated_once, other) == [True, True]
    assert done_again(annotated_once, other) == [False, False]


def test_the_same_checkpoint_elsewhere_does_nothing_again(
    annotated_once: Path, checkpoint: Path, tmp_path: Path
) -> None:
    assert done_again(annotated_once, Path(shutil.copy(checkpoint, tmp_path / "moved.ckpt"))) == [False, False]


def test_another_pixel_size_does_all_again(annotated_once: Path, checkpoint: Path) -> None:
    assert done_again(annotated_once, checkpoint, None, 6.0) == [True, True]
    assert told(annotated_once / "out", "a")["pixel_size_um"] == 6.0
    assert done_again(annotated_once, checkpoint, None, 6.0) == [False, False]
    assert done_again(annotated_once, checkpoint) == [True, True]


def test_another_precision_or_backend_does_all_again(annotated_once: Path, checkpoint: Path) -> None:
    backend = "torch" if told(annotated_once / "out", "a")["backend"] == "openvino" else "openvino"
    if backend == "openvino":
        pytest.importorskip("openvino")
    options = AnnotationOptions(precision="fp32", backend=backend)

    assert done_again(annotated_once, checkpoint, options) == [True, True]
    assert done_again(annotated_once, checkpoint) == [False, False]


def test_a_deleted_overlay_is_done_again(annotated_once: Path, checkpoint: Path) -> None:
    overlay = annotated_once / "out" / "a.overlay.png"
    before = overlay.read_bytes()
    left = stamps(annotated_once / "out", "b")
    overlay.unlink()

    annotate_files([annotated_once / "in"], [checkpoint], annotated_once / "out")

    assert overlay.read_bytes() == before
    assert stamps(annotated_once / "out", "b") == left


def test_warnings_of_the_mosaic_that_is_read_ahead_appear(checkpoint: Path, tmp_path: Path) -> None:
    images = [write(tmp_path / f"{name}.tif", seed=71, pixel_size_um=size) for name, size in (("a", 8), ("b", None))]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert annotate_files(images, [checkpoint], tmp_path / "out") == 0

    assert [w.category for w in caught] == [ResolutionWarning]
    assert "b.tif" in str(caught[0].message)
    assert told(tmp_path / "out", "b")["pixel_size_source"] == "assumed"


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_computed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(Annotator, "annotate_mosaic")
    image = write(tmp_path / "a.tif", seed=72)
    (tmp_path / "out").write_text("a file, not a folder")
    for out in ("out", "out/more"):
        assert annotate_files([image], [checkpoint], tmp_path / out) == 1
        assert "out is a file; choose another folder with --out" in capsys.readouterr().err


def test_what_cannot_be_written_is_one_sentence_a_mosaic(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [write(tmp_path / f"{name}.tif", seed=72) for name in "ab"]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FORMATS["overlay"], "write", full)

    assert annotate_files(images, [checkpoint], tmp_path / "out") == 2

    error = capsys.readouterr().err
    assert error.count("cannot be written") == 4  # when it happens, and at the end
    assert "Traceback" not in error


def test_a_wrong_option_stops_before_the_first_mosaic(checkpoint: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "a.tif", seed=73)
    with pytest.raises(InputError, match="backend is 'none'"):
        annotate_files([image], [checkpoint], tmp_path / "out", AnnotationOptions(backend="none"))
    assert not (tmp_path / "out").exists()


def test_int8_runs_on_the_processor_whatever_else_there_is(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    devices: list[str] = []
    load = Annotator.load

    def loaded(path: Path, device: str = "auto", *more: Any) -> Annotator:
        devices.append(device)
        return load(path, "cpu", *more)

    monkeypatch.setattr(Annotator, "load", loaded)
    with pytest.raises(InputError, match="has not been quantised"):
        annotate_files(
            [write(tmp_path / "a.tif", seed=74)], [checkpoint], tmp_path / "out", AnnotationOptions(precision="int8")
        )
    assert devices == ["cpu"]


def refused_before_work(
    images: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    with monkeypatch.context() as patch:
        patch.delattr(Annotator, "load")
        capsys.readouterr()
        assert annotate_files(images, [], out) == len(images)
    error = capsys.readouterr().err
    assert error.count("\n") == len(images)
    assert error.count("--replace") == len(images)
    return error


def test_a_users_file_is_not_replaced_and_the_other_mosaics_are_annotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    images = [write(folder / f"{name}.tif", seed=ord(name)) for name in "abc"]
    (folder / "a.json").write_text('{"shapes": []}')
    (folder / "c.overlay.png").write_bytes(b"a user's")
    refused_before_work([images[0], images[2]], folder, monkeypatch, capsys)

    assert annotate_files([folder], [], folder) == 2

    error = capsys.readouterr().err
    assert "a.json, which is not a file of annotate's" in error
    assert error.index("c.overlay.png, which") < error.index("annotating b.tif")
    assert (folder / "a.json").read_text() == '{"shapes": []}'
    assert (folder / "c.overlay.png").read_bytes() == b"a user's"
    others = ["a.json", "a.tif", "b.tif", "c.overlay.png", "c.tif"]
    assert names(folder) == sorted([*others, *written(["b"])])

    assert annotate_files([folder], [], folder, replace=True) == 0
    assert names(folder) == sorted(["a.tif", "b.tif", "c.tif", *written(["a", "b", "c"])])


def test_another_mosaic_of_the_name_is_not_annotated_into_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (write(tmp_path / f"p{number}" / "mosaic.tif", seed=80 + number) for number in (1, 2))
    out = tmp_path / "out"
    annotate_files([first], [], out)
    before = stamps(out, "mosaic")

    error = refused_before_work([second], out, monkeypatch, capsys)
    assert "mosaic.entropy.ome.tif, which was made from another mosaic of this name" in error
    assert stamps(out, "mosaic") == before

    copied = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "p1", copied / "new")
    shutil.copytree(out, copied / "out")
    capsys.readouterr()
    assert annotate_files([copied / "new"], [], copied / "out") == 0
    assert "1 finished earlier" in capsys.readouterr().err


def test_what_a_killed_process_left_of_a_finished_mosaic_goes(tmp_path: Path) -> None:
    image, out = write(tmp_path / "a.tif", seed=83), tmp_path / "out"
    annotate_files([image], [], out)
    with journal_of(out, image).replacing(digest(image)) as made:
        left = next(iter(made.values())).parent
        for path in made.values():
            path.write_bytes(b"x")
        shutil.copytree(left, tmp_path / "left")
    annotate_files([image], [], out, replace=True)
    shutil.copytree(tmp_path / "left", left)

    assert annotate_files([image], [], out) == 0

    assert names(out) == written(["a"])


@pytest.mark.parametrize(
    "name",
    [b"m\xff.tif", "Größe µ².tif".encode(), b"[red] a\nb\x07.tif", "ü".encode() * 110 + b".tif"],
    ids=lambda name: ascii(name)[:20],
)
def test_no_name_stops_the_batch(name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    write(folder / "z.tif", seed=84)
    image = write(folder / os.fsdecode(name), seed=85)
    failed = annotate_files([folder], [], tmp_path / "out")

    printed, error = capsys.readouterr()
    assert failed == 0, error
    assert len(printed.splitlines()) == 2 * len(ENDINGS)
    assert names(tmp_path / "out") == written([image.stem, "z"])
    assert told(tmp_path / "out", image.stem)["mosaic"] == printable(image.name)
    assert annotate_files([folder], [], tmp_path / "out") == 0
    assert "2 finished earlier" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["l" * 245, "ü" * 123, "n" * 300], ids=lambda name: f"{name[0]}{len(name)}")
def test_a_name_that_is_too_long_is_that_files_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / f"{name}.tif"
    if len(os.fsencode(image.name)) <= 255:
        write(image, seed=86)

    assert annotate_files([image, write(tmp_path / "b.tif", seed=87)], [], tmp_path / "out") == 1

    error = capsys.readouterr().err
    assert "bytes above the 255 of a file's name; rename the mosaic" in error
    assert names(tmp_path / "out") == written(["b"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnicodeEncodeError("utf-8", "m\udcff", 1, 2, "surrogates not allowed"), "UnicodeEncodeError"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), "x cannot be read or written (file name too long)"),
        (PermissionError(errno.EACCES, "Permission denied", "y"), "choose a folder that you may write to"),
        (RuntimeError("raqm_layout() failed"), "RuntimeError: raqm_layout() failed"),
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["open", "annotate_mosaic"])
def test_whatever_one_file_raises_is_its_sentence(
    error: Exception,
    words: str,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = [write(tmp_path / f"{name}.tif", seed=ord(name)) for name in "ab"]
    right = getattr(Annotator, where)

    def fails(annotator: Annotator, given: Any, *more: Any, **options: Any) -> Any:
        if Path(getattr(given, "name", given)).stem == "a":
            raise error
        return right(annotator, given, *more, **options)

    monkeypatch.setattr(Annotator, where, fails)
    assert annotate_files(images, [], tmp_path / "out") == 1

    said = capsys.readouterr().err
    assert f"error: {images[0]} cannot be annotated" in said
    assert words in said
    assert names(tmp_path / "out") == written(["b"])
