import json
from pathlib import Path

import pytest

from experiments.script import program
from experiments.speed import training
from experiments.speed.machine import MATMUL
from experiments.speed.steps import NAIVE
from experiments.speed.training import BOTH, MONAI, REAL, RESIDENT, main, to_markdown
from rcm_cascade.cli import exit_status

pytest.importorskip("monai")


def tiny(root: Path, *more: str) -> list[str]:
    return ["data=folder", f"data.root={root}", "model.base_filters=2", "data.batch_size=8", *more]


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the tables hold the same rows whatever the processor is."""
    monkeypatch.setattr(training, "has_bf16", lambda device: False)
    monkeypatch.setitem(MATMUL, "cpu", (64, 1))


@pytest.mark.slow
def test_the_table_and_the_record(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = tiny(phantoms, "trainer.accelerator=cpu", "trainer.precision=fp32", "trainer.max_time=00:00:00:01")
    monkeypatch.chdir(tmp_path)

    main(overrides, tmp_path / "out", rounds=2, steps=2, compiled=False)

    table = capsys.readouterr().out
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

    main(tiny(phantoms, "trainer.accelerator=cpu", "trainer.precision=fp32"), tmp_path, rounds=1, steps=1)

    table = (tmp_path / "training.md").read_text("utf-8")
    assert "| ours, compiled | not available |" in table
    assert "Not available: ours, compiled (InductorError: no g++)." in table
    assert ("Not available: ours (OutOfMemoryError: none left)." in table) == (ours is not None)
    assert ("| ours / naive |" in table) == (ours is None)
    assert "ours / ours, compiled" not in table
    assert "| MONAI as it comes | 4 |" in table


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rounds", "0"], "--rounds"),
        (["--steps", "0"], "--steps"),
        (["model.levls=2"], "model.levls: no such key"),
        (["trainer.devices=2", "trainer.accelerator=cpu"], "leave trainer.devices, trainer.nodes"),
        (["data.batch_size=500"], "lower data.batch_size"),
        (["data.root=nowhere"], "nowhere"),
    ],
    ids=str,
)
def test_wrong_input_is_one_sentence(
    more: list[str], words: str, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(program(main), [*tiny(phantoms), "--out", str(tmp_path / "out"), *more]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not (tmp_path / "out").exists()


def test_the_help_says_what_it_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(program(main), ["--help"]) == 0
    told = capsys.readouterr().out
    assert "Writes training.md and training.json" in told
    assert "--compile / --no-compile" in told
