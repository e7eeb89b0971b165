from pathlib import Path

import pytest

from rcm_cascade.annotate.shares import Share, this_share
from rcm_cascade.errors import InputError


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)


def test_alone_it_is_everything(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "cab"]
    assert this_share() == Share()
    assert Share().of(files) == files


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Share(3, 8, 1)),
        ({"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0"}, Share(2, 4, 0)),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, Share()),
        (array := {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "7"}
         | {"SLURM_ARRAY_TASK_COUNT": "4"}, Share(2, 4)),
        (array | {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "1"}, Share(5, 8, 1)),
    ],
)  # fmt: skip
def test_processes_and_jobs_are_numbered_through(
    environment: dict[str, str], expected: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert this_share() == expected


def test_an_array_with_gaps_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ID": "2", "MIN": "1", "MAX": "9", "COUNT": "3"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    with pytest.raises(InputError, match=r"3 indices from 1 to 9 with gaps; give --array=0-2"):
        this_share()


def test_each_file_is_in_one_share_and_large_ones_are_spread(tmp_path: Path) -> None:
    files = []
    for number, size in enumerate((10, 10, 9000, 10, 8000, 10, 7000)):
        files.append(tmp_path / f"{number}.tif")
        files[-1].write_bytes(bytes(size))
    files.append(tmp_path / "missing.tif")
    shares = [Share(number, 3).of(files) for number in range(3)]
    assert sorted(file for share in shares for file in share) == sorted(files)
    assert all(sum(file in share for file in (files[2], files[4], files[6])) == 1 for share in shares)
    assert all(share == sorted(share, key=files.index) for share in shares)
    assert Share(2, 3).of(files[:1]) == []
