import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tifffile
import torch
import yaml

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.cpu.int8 import Int8Report, read_report
from rcm_cascade.cli import main
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet
from rcm_cascade.phantom import write_phantoms
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.train import train
from tests.running import tiny

pytest.importorskip("nncf")
from rcm_cascade.annotate.cpu import int8
from rcm_cascade.runs.score import quantise_checkpoint

LEVELS = 3


@pytest.fixture
def checkpoint(finished_run: Path, tmp_path: Path) -> Path:
    """In a run folder of its own."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    return run / "checkpoints" / "best.ckpt"


class Faked:
    """Quantising and measuring in no time, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.agreement = 0.9912
        self.by_level: dict[int, float] = {}
        """Of the coarsest level that is quantised; `agreement` of the others."""
        self.too_small: set[int] = set()
        self.levels: list[int] = []
        self.calibrated: list[list[str]] = []
        self.measured: list[list[str]] = []
        self.error: Exception | None = None
        monkeypatch.setattr(int8, "quantise", self._quantise)
        monkeypatch.setattr(int8, "measure_loss", self._measure)

    def _quantise(self, model: CascadedUNet, mosaics: Sequence[Mosaic], folder: Path, first: int) -> None:
        self.levels.append(first)
        if first in self.too_small:
            raise int8.TooSmallError("too small")
        self.calibrated.append([m.name for m in mosaics])
        folder.mkdir()
        (folder / "encoder.xml").write_text(f"graph {len(self.calibrated)}")
        if self.error is not None:
            raise self.error

    def _measure(
        self, annotator: Annotator, folder: Path, first: int, calibrated_on: Any, measured_on: Sequence[Mosaic]
    ) -> Int8Report:
        self.measured.append([m.name for m in measured_on])
        values: dict[str, tuple[float | None, float | None]] = {"meshwork": (0.75, 0.71), "ring": (None, None)}
        names = [m.name for m in calibrated_on]
        agreement = self.by_level.get(first, self.agreement)
        return Int8Report(annotator.checkpoint_sha256, agreement, values, first + 1, names, self.measured[-1])


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Faked:
    return Faked(monkeypatch)


def test_a_checkpoint_is_quantised_once_on_training_and_measured_on_other_mosaics(
    checkpoint: Path, faked: Faked, capsys: pytest.CaptureFixture[str]
) -> None:
    split = Annotator.load(checkpoint).header.split

    report = quantise_checkpoint(checkpoint)

    assert {split[name] for name in faked.calibrated[0]} == {"train"}
    assert {split[name] for name in faked.measured[0]} == {"val"}
    assert report.agreement == 0.9912
    told = capsys.readouterr().err
    assert "int8 gives 99.12% of the pixels the label that float32 gives them" in told
    assert "meshwork -0.040" in told
    assert "ring" not in told
    folder = checkpoint.with_suffix(".int8")
    assert sorted(p.name for p in folder.iterdir()) == ["encoder.xml", "report.json"]
    stored = read_report(checkpoint)
    assert stored is not None
    assert stored.measured_on == report.measured_on

    assert quantise_checkpoint(checkpoint).agreement == 0.9912
    assert len(faked.calibrated) == 1
    assert "99.12%" in capsys.readouterr().err


def test_a_checkpoint_that_was_trained_on_is_quantised_again(checkpoint: Path, faked: Faked) -> None:
    quantise_checkpoint(checkpoint)
    content = torch.load(checkpoint, weights_only=False)
    key = next(key for key in content["state_dict"] if key.endswith("bias"))
    content["state_dict"][key] += 1
    torch.save(content, checkpoint)

    quantise_checkpoint(checkpoint)

    folder = checkpoint.with_suffix(".int8")
    assert (folder / "encoder.xml").read_text() == "graph 2"
    report = read_report(checkpoint)
    assert report is not None
    assert report.checkpoint_sha256 == Annotator.load(checkpoint).checkpoint_sha256


def test_too_low_an_agreement_is_refused_unless_accepted(checkpoint: Path, faked: Faked) -> None:
    faked.agreement = 0.9799

    with pytest.raises(InputError, match=r"labels 97\.99% .*expected 98% or more.*--accept-loss"):
        quantise_checkpoint(checkpoint)
    with pytest.raises(InputError, match="--accept-loss"):  # from the report, too
        quantise_checkpoint(checkpoint)
    assert quantise_checkpoint(checkpoint, accept_loss=True).agreement == 0.9799
    assert faked.levels == list(range(LEVELS))


@pytest.mark.parametrize(
    ("by_level", "too_small", "first"),
    [({}, set(), 0), ({0: 0.984}, set(), 1), ({0: 0.97, 1: 0.98}, set(), 2), ({0: 0.999}, {0}, 1), ({1: 0.1}, {0}, 2)],
)
def test_as_many_levels_are_quantised_as_agree(
    by_level: dict[int, float], too_small: set[int], first: int, checkpoint: Path, faked: Faked
) -> None:
    faked.by_level, faked.too_small = by_level, too_small

    report = quantise_checkpoint(checkpoint)

    assert report.first_level == first + 1
    assert faked.levels == list(range(first + 1))
    assert (checkpoint.with_suffix(".int8") / "encoder.xml").read_text() == f"graph {len(faked.calibrated)}"


def test_mosaics_too_small_for_every_level_are_one_sentence(checkpoint: Path, faked: Faked) -> None:
    faked.too_small = set(range(LEVELS))

    with pytest.raises(InputError, match="too small"):
        quantise_checkpoint(checkpoint)
    assert not checkpoint.with_suffix(".int8").exists()


def test_the_least_agreement_is_enough(checkpoint: Path, faked: Faked) -> None:
    faked.agreement = 0.98

    assert quantise_checkpoint(checkpoint).agreement == 0.98


def test_a_checkpoint_outside_a_run_folder_needs_the_data_set_named(
    checkpoint: Path, phantoms: Path, faked: Faked, tmp_path: Path
) -> None:
    alone = tmp_path / "alone" / "best.ckpt"
    alone.parent.mkdir()
    shutil.copy(checkpoint, alone)

    with pytest.raises(InputError, match=r"lies in no run folder.*--calibrate ROOT"):
        quantise_checkpoint(alone)
    assert not alone.with_suffix(".int8").exists()

    assert quantise_checkpoint(alone, phantoms).calibrated_on == faked.calibrated[0]
    assert quantise_checkpoint(alone).agreement == 0.9912  # now it is known


def test_another_data_set_is_refused(checkpoint: Path, faked: Faked, tmp_path: Path) -> None:
    other = write_phantoms(tmp_path / "other", mosaics=3, size_mm=(0.8, 0.9), pixel_size_um=8, seed=1, processes=1)

    with pytest.raises(InputError, match=r"is not the data set that .* was trained on"):
        quantise_checkpoint(checkpoint, other)
    assert not faked.calibrated


@pytest.mark.parametrize("error", [InputError("too small"), RuntimeError("of NNCF")], ids=str)
def test_a_failure_leaves_nothing_behind(error: Exception, checkpoint: Path, faked: Faked) -> None:
    faked.error = error

    with pytest.raises(type(error), match=str(error)):
        quantise_checkpoint(checkpoint)
    assert not list(checkpoint.parent.glob("*.int8*"))


def test_a_disk_that_is_full_is_one_sentence(checkpoint: Path, faked: Faked) -> None:
    faked.error = OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"best\.int8 cannot be written \(No space left on device\)"):
        quantise_checkpoint(checkpoint)
    assert not list(checkpoint.parent.glob("*.int8*"))


def test_calibration_mosaics_are_decoded_into_the_cache_of_the_run(
    checkpoint: Path, phantoms: Path, faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = checkpoint.parent.parent / "config.yaml"
    content = yaml.safe_load(config.read_text("utf-8"))
    content["data"]["cache_dir"] = str(tmp_path / "cache of the run")
    config.write_text(yaml.safe_dump(content), "utf-8")
    monkeypatch.setenv("RCM_CASCADE_CACHE", str(tmp_path / "another"))

    quantise_checkpoint(checkpoint)
    checkpoint.with_suffix(".int8").rename(tmp_path / "moved")
    quantise_checkpoint(checkpoint, phantoms)

    assert len(faked.calibrated) == 2
    assert list((tmp_path / "cache of the run").iterdir())
    assert not (tmp_path / "another").exists()


def test_int8_without_openvino_is_one_sentence(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcm_cascade.annotate.cpu.has_openvino", lambda: False)
    with pytest.raises(InputError, match=r"pip install 'rcm-cascade\[openvino\]'"):
        quantise_checkpoint(checkpoint)


@pytest.mark.slow
def test_a_trained_checkpoint_annotates_in_int8(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(compose_config(tiny(phantoms, "model.levels=1")), tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    image = read_dataset(phantoms).entries[0].image
    capsys.readouterr()

    command = ["annotate", str(image), "--checkpoint", str(checkpoint), "--tile", "64", "--accept-loss"]
    int8 = [*command, "--out", str(tmp_path / "int8"), "--precision", "int8"]
    assert main(int8) == 0

    printed, error = capsys.readouterr()
    assert [Path(line).name.removeprefix(image.stem) for line in printed.splitlines()] == [
        ".entropy.ome.tif",
        ".fields.csv",
        ".labels.ome.tif",
        ".overlay.png",
        ".json",
    ]
    assert "of the pixels the label that float32 gives them" in error
    report = read_report(checkpoint)
    assert report is not None
    assert 0.5 < report.agreement <= 1
    assert any(None not in pair for pair in report.sensitivity.values())
    assert main([*command, "--out", str(tmp_path / "fp32"), "--precision", "fp32"]) == 0
    quick, exact = (tifffile.imread(tmp_path / f / f"{image.stem}.labels.ome.tif") for f in ("int8", "fp32"))
    assert (quick == exact).mean() > 0.5

    before = checkpoint.with_suffix(".int8").stat().st_ino
    assert main(int8) == 0
    assert "1 finished earlier" in capsys.readouterr().err
    assert checkpoint.with_suffix(".int8").stat().st_ino == before
