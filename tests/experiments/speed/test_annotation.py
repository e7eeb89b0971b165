import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from experiments.script import program
from experiments.speed import annotation, mosaics
from experiments.speed.annotation import main, to_markdown
from experiments.speed.contenders import Growth
from experiments.speed.machine import MATMUL
from rcm_cascade.annotate.backends import BACKENDS, AnnotationOptions
from rcm_cascade.annotate.cpu.int8 import Int8Report
from rcm_cascade.cli import exit_status

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


def only(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves one backend, whatever is installed."""
    monkeypatch.setattr("rcm_cascade.annotate.backends.BACKENDS", [b for b in BACKENDS if b[0] == backend])


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_table_and_the_record(
    backend: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(backend)
    only(backend, monkeypatch)

    main(checkpoint, tmp_path / "out", size=(256, 320), rounds=1, series=False)

    table = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "annotation.json").read_text("utf-8"))
    assert (tmp_path / "out" / "annotation.md").read_text("utf-8") == table == to_markdown(found)
    assert found["backend"] == backend
    assert found["mosaic"]["shape"] == [256, 320]
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


def test_growth_is_measured_on_the_phantom_that_is_mirrored(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("torch", monkeypatch)
    monkeypatch.setattr(annotation, "PHANTOM_PX", 128)
    monkeypatch.setattr(mosaics, "PHANTOM_PX", 128)
    monkeypatch.setattr(annotation, "SERIES", {"cpu": ((64, 80),)})
    grown: list[Any] = []

    def grow(checkpoint: Path, grey: Any, pixel_size_um: float, shapes: Any, options: Any) -> list[Any]:
        grown.append((grey.shape, shapes, options))
        return [Growth(4.0, 2.0, 0.125, 0.5, 0.25, 3 * 10**9)]

    monkeypatch.setattr(annotation, "grow", grow)

    main(checkpoint, tmp_path, size=(192, 160), rounds=2)

    table = (tmp_path / "annotation.md").read_text("utf-8")
    assert grown == [((128, 128), ((64, 80),), AnnotationOptions(precision="fp32", backend="torch"))]
    assert "a phantom of 128 px" in table
    assert "| 4.0 | 2.0 | 0.500 | 12.5% | 50.0% | 25.0% | 3.00 GB |" in table
    found = json.loads((tmp_path / "annotation.json").read_text("utf-8"))
    assert all(len(run["seconds"]) == 2 for run in found["runs"].values())


@pytest.mark.slow
def test_graphs_of_another_checkpoint_are_left_out(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    own = Path(shutil.copy(checkpoint, tmp_path / "best.ckpt"))
    folder = tmp_path / "best.int8"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(asdict(Int8Report("00" * 32, 1.0, {}, 3, [], []))))

    main(own, tmp_path / "out", size=(128, 144), rounds=1, series=False)

    assert "int8" not in (tmp_path / "out" / "annotation.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rounds", "0"], "--rounds"),
        (["--size", "10", "4000"], "--size"),
        ([], "no.ckpt does not exist"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_sentence(more: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(program(main), ["--checkpoint", "no.ckpt", "--no-series", *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1
