import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.ids import legacy_id
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.phantom import write_phantoms
from rcm_cascade.phantom.generate import Phantom, generate
from rcm_cascade.phantom.recipe import Recipe

SMALL: dict[str, Any] = {"mosaics": 3, "size_mm": (1.0, 1.5), "pixel_size_um": 8.0, "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("set") / "phantom", **SMALL, patients=2, sites=2, processes=1)


def contents(root: Path) -> dict[str, str]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_several_processes_write_the_same_bytes_as_one(folder: Path, tmp_path: Path) -> None:
    again = write_phantoms(tmp_path / "again", **SMALL, patients=2, sites=2, processes=2)
    assert contents(again) == contents(folder)
    assert len(contents(folder)) == 3 * 3 + 3


def test_another_seed_writes_other_mosaics(folder: Path, tmp_path: Path) -> None:
    other = write_phantoms(tmp_path / "other", **(SMALL | {"seed": 0, "mosaics": 1}), processes=1)
    first, second = (tifffile.imread(sorted((root / "mosaics").iterdir())[0]) for root in (folder, other))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)
    assert legacy_id(read_dataset(folder)) != legacy_id(read_dataset(other))


def test_the_folder_is_a_dataset(folder: Path) -> None:
    data = read_dataset(folder)
    assert data.classes == RCM_CLASSES
    assert data.synthetic
    assert (data.name, data.pixel_size_um, data.working_pixel_size_um) == ("phantom", 8.0, 8.0)
    assert [entry.patient for entry in data.entries] == ["p000", "p001", "p000"]
    assert [entry.site for entry in data.entries] == ["s0", "s1", "s0"]
    assert all(entry.split is None and entry.label is not None for entry in data.entries)


def test_mosaics_say_their_pixel_size_and_that_they_are_no_patients(folder: Path) -> None:
    for path in (folder / "mosaics").iterdir():
        with tifffile.TiffFile(path) as tiff:
            tags = tiff.pages.first.tags
            numerator, denominator = tags["XResolution"].value
            assert numerator / denominator == pytest.approx(1250)  # pixels a cm
            assert tags["ResolutionUnit"].value == 3  # cm
            assert tags["ImageDescription"].value == "synthetic phantom (rcm-cascade); no patient"
            assert tiff.pages.first.is_tiled
            image = tiff.asarray()
        assert image.dtype == np.uint8
        assert image.shape == (125, 188)
        assert image.std() > 10


def test_truth_is_complete_and_labels_leave_pixels_open(folder: Path) -> None:
    for name in ("truth", "labels"):
        values = [np.asarray(Image.open(path)) for path in sorted((folder / name).iterdir())]
        assert all(value.shape == (125, 188) and value.dtype == np.uint8 for value in values)
        assert set(np.unique(values)) <= ({*range(6)} if name == "truth" else {*range(6), 255})
        assert (255 in np.unique(values)) == (name == "labels")


def test_the_parameters_are_written_down(folder: Path) -> None:
    record = yaml.safe_load((folder / "phantom.yaml").read_text())
    assert record["arguments"]["seed"] == 3
    assert record["arguments"]["size_mm"] == [1.0, 1.5]
    assert [row["patient"]["name"] for row in record["mosaics"]] == ["p000", "p001", "p000"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mosaics": 0}, "0 mosaics asked for; expected at least 1"),
        ({"size_mm": (0.0, 1.0)}, "mosaic size is 0 x 1 mm; expected two lengths above 0"),
        ({"size_mm": (1.0, float("nan"))}, "mosaic size is 1 x nan mm"),
        ({"pixel_size_um": 0.2}, "pixel size is 0.2 µm; phantoms can have 0.25 to 20 µm"),
        ({"pixel_size_um": 21.0}, "pixel size is 21 µm"),
        ({"pixel_size_um": float("nan")}, "pixel size is nan µm"),
        ({"size_mm": (20.0, 1.0), "pixel_size_um": 0.5}, "is 40000 px; expected at most 32000"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"patients": 4}, "4 patients asked for with 3 mosaics; expected 1 to 3"),
        ({"patients": 0}, "0 patients asked for"),
        ({"patients": 2, "sites": 3}, "3 sites asked for with 2 patients; expected 1 to 2"),
        ({"sites": 0}, "0 sites asked for"),
        ({"processes": 0}, "0 processes asked for; expected at least 1"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        write_phantoms(tmp_path / "out", **(SMALL | change))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not an empty folder; give a new one or empty it first"):
        write_phantoms(tmp_path, **SMALL)
    with pytest.raises(InputError, match="is not an empty folder"):
        write_phantoms(tmp_path / "notes.txt", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    write_phantoms(tmp_path / ".", **(SMALL | {"mosaics": 1, "size_mm": (0.5, 0.5)}), processes=1)
    assert len(read_dataset(tmp_path).entries) == 1


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def fails_at_the_second(recipe: Recipe) -> Phantom:
        if written:
            raise MemoryError
        written.append(recipe.name)
        return generate(recipe)

    monkeypatch.setattr("rcm_cascade.phantom.dataset.generate", fails_at_the_second)
    with pytest.raises(MemoryError):
        write_phantoms(tmp_path / "out", **SMALL, processes=1)
    assert written
    assert not list(tmp_path.iterdir())
