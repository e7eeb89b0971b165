from pathlib import Path

import pytest
import yaml

from rcm_cascade.data.splits import describe_split
from rcm_cascade.errors import InputError
from rcm_cascade.phantom import GENERATOR, phantom_name
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import find_dataset, load_training_data, patch_geometry


def test_phantoms_are_generated_once_and_named_by_their_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = compose_config(["+debug=fast", "data.phantom.mosaics=2", "data.phantom.size_mm=[1,1]"]).data
    folder = find_dataset(data)
    assert (
        folder == Path("phantoms") / "2x1x1mm-8um-seed0" == Path("phantoms") / phantom_name(data.phantom.model_dump())
    )
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert find_dataset(data) == folder
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_phantoms_of_another_generator_are_not_taken_for_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = compose_config(["+debug=fast", "data.phantom.mosaics=2", "data.phantom.size_mm=[1,1]"]).data
    record = find_dataset(data) / "phantom.yaml"
    record.write_text(record.read_text().replace(f"generator: {GENERATOR}", "generator: 1"))
    with pytest.raises(InputError, match=r"another version of the generator \(1; .*delete it"):
        find_dataset(data)


def test_the_deformed_share_of_the_meshwork_reaches_the_phantoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = compose_config(
        ["data.phantom.mosaics=1", "data.phantom.size_mm=[1,1]", "data.phantom.deformed_meshwork=0.9"]
    ).data
    folder = find_dataset(data)
    assert folder.name.endswith("deformed0.9")
    assert yaml.safe_load((folder / "phantom.yaml").read_text())["mosaics"][0]["deformed_meshwork"] == 0.9


def test_lengths_are_the_papers_and_rounded_up_to_the_alignment(phantoms: Path) -> None:
    data = compose_config(["data=folder", f"data.root={phantoms}"]).data
    loaded = load_training_data(data)
    geometry = patch_geometry(data, loaded, alignment=16)
    assert (geometry.window, geometry.stride, geometry.patch) == (128, 64, 64)  # 1 mm, 0.5 mm, 0.5 mm at 8 µm
    assert "train" in describe_split(loaded.split)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.patch='2 mm'", "no larger than the window"),
        ("data.window='wide'", r"data\.window: .*'1 mm'"),
        ("data.split_file=nowhere.csv", r"nowhere\.csv"),
    ],
)
def test_lengths_and_splits_that_make_no_sense(phantoms: Path, override: str, words: str) -> None:
    data = compose_config(["data=folder", f"data.root={phantoms}", override]).data
    with pytest.raises(InputError, match=words):
        patch_geometry(data, load_training_data(data), alignment=16)
