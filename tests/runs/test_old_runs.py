"""Run folders that the code of commit f22ba43 made go on working."""

import json
import shutil
from pathlib import Path

import pytest

from rcm_cascade.phantom import phantom_name, write_phantoms
from rcm_cascade.report.pages import evaluate
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import find_dataset
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.identity import read_config
from rcm_cascade.runs.launch import launch
from rcm_cascade.runs.score import is_scored
from rcm_cascade.runs.train import identify, train
from rcm_cascade.training.history import read_history

OLD = Path(__file__).parent / "f22ba43"
TOLD = [
    "data.phantom.mosaics=6", "data.phantom.size_mm=[1.2,1.2]", "data.phantom.pixel_size_um=8", "data.phantom.seed=2",
    "data.batch_size=2", "model.base_filters=1", "model.base_depth=1", "model.levels=2", "trainer.precision=fp32",
    "trainer.validation_regions=2", "data.num_workers=0", "trainer.steps_per_epoch=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms of the runs, as `data=phantom` makes them."""
    phantom = read_config(OLD / "finished" / "config.yaml").data.phantom
    folder = tmp_path_factory.mktemp("old") / "phantoms"
    write_phantoms(folder / phantom_name(phantom.model_dump()), **phantom.model_dump(), processes=1)
    return folder


@pytest.fixture
def runs(phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folders, below the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phantoms").symlink_to(phantom_folder, target_is_directory=True)
    shutil.copytree(OLD, tmp_path / "runs")
    return Path("runs")


def test_a_finished_run_is_finished_and_can_be_evaluated(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = compose_config([*TOLD, "run=finished", "trainer.max_epochs=2"])
    root = find_dataset(config.data)
    before = json.loads((runs / "finished" / "evaluation" / "metrics.json").read_text())
    assert train(config, runs / "finished")["hash"] == "c487b27534bafac4"
    assert "is finished" in capsys.readouterr().err
    assert is_scored(RunFolder(runs / "finished"))
    summary, _, out = evaluate(runs / "finished" / "checkpoints" / "best.ckpt", root, "test", None)
    assert out == (runs / "finished" / "evaluation").resolve()
    assert summary["confusion"] == before["confusion"]
    assert (runs / "finished" / "report.html").is_file()


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # Lightning's: the folder was made elsewhere
@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_its_end(runs: Path) -> None:
    config = compose_config([*TOLD, "run=interrupted", "trainer.max_epochs=40"])
    before = read_history(runs / "interrupted" / "metrics.csv")
    result = train(config, runs / "interrupted")
    assert (result["epochs"], result["steps"]) == (40, 80)
    history = read_history(runs / "interrupted" / "metrics.csv")
    assert len(history) == 40
    assert history[0] == before[0]


@pytest.mark.parametrize("prior", ["softmax", "none"])
def test_a_job_of_a_sweep_is_known_by_its_configuration(runs: Path, prior: str) -> None:
    design = "model=ensemble" if prior == "none" else "model=cascade"
    told = [*TOLD, "trainer.max_epochs=1", "seed=1", design]
    train(compose_config(told), runs / "sweep" / f"model.prior={prior},seed=1")


def test_the_jobs_of_a_sweep_are_not_run_again(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: object, folder: Path) -> None:
        assert (folder / "result.json").is_file(), f"{folder} would be trained"

    told = [*TOLD, "trainer.max_epochs=1", "seed=0,1"]
    launch(["--multirun", *told, "run=sweep", "model.prior=softmax"], run, identify)
    launch(["--multirun", *told, "run=again", "model=cascade,ensemble"], run, identify)
    assert {path.resolve().name for path in (runs / "again").glob("model=*")} == {
        f"model.prior={prior},seed={seed}" for prior in ("softmax", "none") for seed in (0, 1)
    }
