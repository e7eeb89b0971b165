import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from experiments.speed import annotation, mosaics
from experiments.speed.annotation import measure_annotation, to_markdown
from experiments.speed.contenders import Growth
from experiments.speed.machine import MATMUL
from rcm_cascade.annotate.cpu.int8 import Int8Report
from rcm_cascade.cli import exit_status
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError

pytest.importorskip("monai")


@pytest.fixture
def checkpoint(finished_run: Path) -> Path:
    return finished_run / "checkpoints" / "best.ckpt"


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the tables hold the same rows whatever the processor is."""
    monkeypatch.setattr(annotation, "has_bf16", lambda device: False)
    monkeypatch.setattr("rcm_cascade.annotate.backends.has_bf16", lambda device: False)
    monkeypatch.setitem(MATMUL, "cpu", (64, 1))


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_table_and_the_record(backend: str, checkpoint: Path, phantoms: Path, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    image = read_dataset(phantoms).entries[0].image

    table = measure_annotation(
        checkpoint, tmp_path / "out", image=image, shape=(256, 320), rounds=1, backend=backend, series=False
    )

    found = json.loads((tmp_path / "out" / "annotation.json").read_text("utf-8"))
    assert (tmp_path / "out" / "annotation.md").read_text("utf-8") == table == to_markdown(found)
    assert found["backend"] == backend
    assert found["mosaic"] == {"shape": [256, 320], "source": image.name}
    monai = ["MONAI 0.25, fp32", "MONAI 0.5, fp32", "MONAI as it comes, torch fp32"]
    assert list(found["runs"]) == ["ours, fp32", "bare 256 px, fp32", *monai]
    assert all(run["s_per_mp"] > 0 and len(run["seconds"]) == 1 for run in found["runs"].values())
    assert list(found["agreement"]) == monai
    assert all(0 < share <= 1 for share in found["agreement"].values())
    assert found["recomputation"] >= 1
    assert found["floor"]["s_per_mp"] > 0
    assert found["growth"] == []
    speeds = {name: run["s_per_mp"] for name, run in found["runs"].items()}
    assert found["ratios"] == {
        "ours / bare, fp32": pytest.approx(speeds["bare 256 px, fp32"] / speeds["ours, fp32"]),
        "ours / MONAI 0.25, fp32": pytest.approx(speeds["MONAI 0.25, fp32"] / speeds["ours, fp32"]),
        "ours / MONAI 0.5, fp32": pytest.approx(speeds["MONAI 0.5, fp32"] / speeds["ours, fp32"]),
        "ours, fp32 / MONAI as it comes": pytest.approx(speeds[monai[2]] / speeds["ours, fp32"]),
    }
    assert f"| ours / bare, fp32 | {found['ratios']['ours / bare, fp32']:.2f} |" in table
    assert "256 × 320 px" in table
    assert re.search(r"\| MONAI 0\.5, fp32 \| \d+\.\d{4}% \|", table)
    assert "Growth" not in table


def test_without_a_mosaic_a_phantom_is_mirrored(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation, "PHANTOM_PX", 128)
    monkeypatch.setattr(mosaics, "PHANTOM_PX", 128)
    monkeypatch.setattr(annotation, "SERIES", ((64, 80),))
    grown: list[Any] = []

    def grow(checkpoint: Path, grey: Any, pixel_size_um: float, shapes: Any, options: Any) -> list[Any]:
        grown.append((grey.shape, shapes, options))
        return [Growth(4.0, 2.0, 0.25, 3 * 10**9)]

    monkeypatch.setattr(annotation, "grow", grow)

    table = measure_annotation(checkpoint, tmp_path, shape=(192, 160), rounds=2, backend="torch")

    assert grown == [((128, 128), ((64, 80),), {"precision": "fp32", "backend": "torch"})]
    assert "a phantom of 128 px" in table
    assert "| 4.0 | 2.0 | 0.500 | 25.0% | 3.00 GB |" in table
    found = json.loads((tmp_path / "annotation.json").read_text("utf-8"))
    assert all(len(run["seconds"]) == 2 for run in found["runs"].values())


@pytest.mark.slow
def test_graphs_of_another_checkpoint_are_left_out(checkpoint: Path, phantoms: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    own = Path(shutil.copy(checkpoint, tmp_path / "best.ckpt"))
    folder = tmp_path / "best.int8"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(asdict(Int8Report("00" * 32, 1.0, {}, [], []))))
    image = read_dataset(phantoms).entries[0].image

    table = measure_annotation(
        own, tmp_path / "out", image=image, shape=(128, 144), rounds=1, backend="openvino", series=False
    )

    assert "int8" not in table


def test_without_monai_it_is_one_sentence(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotation, "find_spec", lambda name: None)

    with pytest.raises(InputError, match=r"pip install 'rcm-cascade\[bench\]'"):
        measure_annotation(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"shape": (10, 4000)}], ids=str)
def test_nothing_to_measure_is_one_sentence(wrong: Any, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 1 round or more, and 64 px or more"):
        measure_annotation(checkpoint, tmp_path / "out", **wrong)


def test_options_reach_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    called: list[tuple[object, ...]] = []

    def measure(*given: object, **named: object) -> str:
        called.append((*given, named))
        return "the table\n"

    monkeypatch.setattr(annotation, "measure_annotation", measure)
    more = ["--out", "o", "--image", "a.tif", "--size", "256", "320", "--rounds", "1", "--backend", "torch"]

    assert exit_status(annotation.program, ["--checkpoint", "c.ckpt", *more, "--no-series"]) == 0

    assert capsys.readouterr().out == "the table\n"
    named = {"image": Path("a.tif"), "shape": (256, 320), "rounds": 1, "backend": "torch", "series": False}
    assert called == [(Path("c.ckpt"), Path("o"), named)]


def test_a_wrong_checkpoint_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(annotation.program, ["--checkpoint", "no.ckpt", "--no-series"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no.ckpt does not exist" in error
    assert error.count("\n") == 1
