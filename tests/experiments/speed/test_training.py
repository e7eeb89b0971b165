import json
from pathlib import Path
from typing import Any

import pytest

from experiments.speed import training
from experiments.speed.machine import MATMUL
from experiments.speed.steps import NAIVE
from experiments.speed.training import BOTH, MONAI, REAL, RESIDENT, measure_training, to_markdown
from rcm_cascade.cli import exit_status
from rcm_cascade.errors import InputError

pytest.importorskip("monai")


def tiny(root: Path, *more: str) -> list[str]:
    return ["data=folder", f"data.root={root}", "model.base_filters=2", "data.batch_size=8", *more]


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the tables hold the same rows whatever the processor is."""
    monkeypatch.setattr(training, "has_bf16", lambda device: False)
    monkeypatch.setitem(MATMUL, "cpu", (64, 1))


def test_the_table_and_the_record(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = tiny(phantoms, "trainer.accelerator=cpu", "trainer.precision=fp32", "trainer.max_time=00:00:00:01")
    monkeypatch.chdir(tmp_path)

    table = measure_training(overrides, tmp_path / "out", rounds=2, steps=2, compiled=False)

    found = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))
    assert (tmp_path / "out" / "training.md").read_text("utf-8") == table == to_markdown(found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["training.json", "training.md"]
    assert list(found["runs"]) == [
        REAL, RESIDENT, NAIVE.name, "ours", "ours in NCHW", "ours with AdamW unfused"
    ]  # fmt: skip
    assert list(found["pipelines"]) == ["loading alone", "augmentation alone", BOTH, *MONAI]
    timed = [*found["runs"].values(), *found["pipelines"].values()]
    assert all(len(run["seconds"]) == 2 and min(run["seconds"]) > 0 for run in timed)
    assert found["batch"] == [8, 64, 64]
    assert found["steps"] == 2
    assert found["overrides"] == overrides
    steps = {name: run["s_per_step"] for name, run in found["runs"].items()}
    patches = {name: run["patches_per_s"] for name, run in found["pipelines"].items()}
    assert found["ratios"] == {
        "real pipeline / resident batch": pytest.approx(steps[RESIDENT] / steps[REAL]),
        f"{BOTH} / {MONAI[0]}": pytest.approx(patches[BOTH] / patches[MONAI[0]]),
        f"{BOTH} / {MONAI[1]}": pytest.approx(patches[BOTH] / patches[MONAI[1]]),
        "ours / naive": pytest.approx(steps[NAIVE.name] / steps["ours"]),
        "ours / ours in NCHW": pytest.approx(steps["ours in NCHW"] / steps["ours"]),
        "ours / ours with AdamW unfused": pytest.approx(steps["ours with AdamW unfused"] / steps["ours"]),
    }
    assert all(0 < share < 1 for share in found["waiting"].values())
    assert found["floor"]["s_per_step"] > 0
    assert 1e8 < found["peak_bytes"] < 1e11
    assert found["peak_gpu_bytes"] is None
    assert found["unavailable"] == {}
    assert f"| ours / naive | {found['ratios']['ours / naive']:.2f} |" in table
    assert "batches of 8 × 64 × 64 px from" in table
    assert "Not available" not in table


@pytest.mark.parametrize("ours", [None, "OutOfMemoryError: none left"])
def test_what_cannot_be_computed_here_is_told(
    ours: str | None, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = iter([None, ours, None, None, "InductorError: no g++"])
    monkeypatch.setattr(training, "begun", lambda step, device: next(reasons))
    monkeypatch.setattr(training, "MonaiPipeline", lambda *given: lambda: 0.25)

    table = measure_training(
        tiny(phantoms, "trainer.accelerator=cpu", "trainer.precision=fp32"), tmp_path, rounds=1, steps=1
    )

    assert "| ours, compiled | not available | |" in table
    assert "Not available: ours, compiled (InductorError: no g++)." in table
    assert ("Not available: ours (OutOfMemoryError: none left)." in table) == (ours is not None)
    assert ("| ours / naive |" in table) == (ours is None)
    assert "ours / ours, compiled" not in table
    assert "| MONAI as it comes | 4 |" in table


@pytest.mark.parametrize(
    ("more", "named", "words"),
    [
        ([], {"rounds": 0}, "expected 1 round or more"),
        ([], {"steps": 0}, "of 1 step or more"),
        (["model.levls=2"], {}, "model.levls: no such key"),
        (["trainer.devices=2", "trainer.accelerator=cpu"], {}, "leave trainer.devices and trainer.nodes at 1"),
        (["data.batch_size=500"], {}, "lower data.batch_size"),
        (["data.root=nowhere"], {}, "nowhere"),
    ],
    ids=str,
)
def test_wrong_input_is_one_sentence(
    more: list[str], named: dict[str, Any], words: str, phantoms: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        measure_training(tiny(phantoms, *more), tmp_path / "out", **named)
    assert not (tmp_path / "out").exists()


def test_without_monai_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)

    with pytest.raises(InputError, match=r"pip install 'rcm-cascade\[bench\]'"):
        measure_training([], tmp_path / "out")


def test_options_and_overrides_reach_it_in_any_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[tuple[object, ...]] = []

    def measure(*given: object) -> str:
        called.append(given)
        return "the table\n"

    monkeypatch.setattr(training, "measure_training", measure)

    given = ["scale=paper", "--out", "o", "--rounds", "2", "seed=1", "--steps", "5"]
    assert exit_status(training.program, given) == 0
    assert exit_status(training.program, ["--no-compile"]) == 0

    assert capsys.readouterr().out == "the table\n" * 2
    assert called == [(["scale=paper", "seed=1"], Path("o"), 2, 5, True), ([], Path("benchmark"), 7, 20, False)]
