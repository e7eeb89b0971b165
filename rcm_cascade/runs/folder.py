"""A run's folder: whose it is, whether it is finished, and the record of what was run."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock, Timeout

from rcm_cascade.errors import InputError
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.identity import changed_data, differences, effective, extends, read_config, write_config
from rcm_cascade.training.ranks import rank


class _File:
    """A file of a run's folder, by its place in it."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __get__(self, folder: "RunFolder", _: type) -> Path:
        return folder.path / self.place


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the files that it holds.

    Attributes:
        path: of the folder.
        config: the resolved configuration.
        split: which mosaic was used for what.
        best: the checkpoint to annotate with.
        last: the checkpoint to resume from.
        metrics: every logged number.
        result: written last: a run that has it is finished.
        batch: a picture of a batch before and after augmentation.
        report: the run's page.
    """

    path: Path
    config = _File("config.yaml")
    split = _File("split.csv")
    best = _File("checkpoints/best.ckpt")
    last = _File("checkpoints/last.ckpt")
    metrics = _File("metrics.csv")
    result = _File("result.json")
    batch = _File("batch.png")
    report = _File("report.html")

    def read_result(self) -> dict[str, Any]:
        """What the run came to."""
        content: dict[str, Any] = json.loads(self.result.read_text())
        return content


RunState = Literal["new", "interrupted", "finished"]


class FolderInUseError(InputError):
    """Another process is at work in the folder; what lies there is its business."""


@contextmanager
def claim(folder: RunFolder, config: TrainConfig) -> Iterator[RunState]:
    """Takes a run folder for this process and says in which state it is.

    Of several processes that train together, the first takes it, and the others only look.

    Raises:
        FolderInUseError: if another process is at work in it.
        InputError: if it holds a run of another configuration.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    if rank() > 0:
        yield state_of(folder, config)
        return
    with locked(folder.path):
        state = state_of(folder, config)
        if state != "finished":
            folder.result.unlink(missing_ok=True)  # of a run that is extended
            write_config(folder.config, config)
        yield state


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes out of a run folder.

    Raises:
        FolderInUseError: if another process is at work in it.
    """
    lock = FileLock(path / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            f"run folder {path} is in use by another process; wait for it, or choose another with run=NAME"
        ) from None
    try:
        yield
    finally:
        lock.release()


def state_of(folder: RunFolder, config: TrainConfig) -> RunState:
    """Whether a folder's run is to begin, to go on, or done; a folder that is not there is to begin.

    Raises:
        InputError: if it holds a run of another configuration, or is a file.
    """
    if folder.path.is_file():
        raise InputError(f"run folder {folder.path} is a file; move it away, or choose another with run=NAME")
    if not folder.config.is_file():
        if folder.last.exists() or folder.result.exists():
            raise InputError(
                f"run folder {folder.path} holds results but no config.yaml; delete it, or choose another with run=NAME"
            )
        return "new"
    if not folder.last.exists() and not folder.result.exists():
        return "new"  # nothing was achieved here yet: a first attempt that failed early locks nothing
    elsewhere = "choose another folder with run=NAME, or delete this one"
    try:
        old = read_config(folder.config)
    except InputError as error:
        raise InputError(f"run folder {folder.path} holds another configuration ({error}); {elsewhere}") from error
    changed = differences(effective(old), effective(config))
    if not changed:
        return "finished" if folder.result.is_file() else "interrupted"
    what = "; ".join(f"{key}: {values}" for key, values in changed.items())
    longer = folder.last.exists() and extends(config, old)
    if longer and config.extend:
        return "interrupted"
    raise InputError(
        f"run folder {folder.path} holds another configuration ({what}); "
        f"{'add extend=true to train it longer, ' if longer else ''}{elsewhere}"
    )


BEGUN: Final = frozenset((".lock", "config.yaml", "split.csv", "metrics.csv", "failure.json"))
"""What an attempt may leave behind that achieved nothing."""

Identify = Callable[[], Mapping[str, str] | None]
"""The data and initial weights of a run, for `changed_data`; None: there is no data yet."""


def link_twin(path: Path, config: TrainConfig, identify: Identify, runs: Path) -> Path | None:
    """Replaces a job's folder, in which nothing was achieved, by a link to a finished run of the same configuration.

    Args:
        path: the job's folder, made by Hydra.
        config: of the job.
        identify: called where a run of the same configuration is found.
        runs: where to look: its run folders, and the sweeps in it.

    Returns:
        The run linked to; None if there is none, or the job has begun. Of several processes, the first links.

    Raises:
        FolderInUseError: if another process is at work in the job's folder.
    """
    if (twin := _find_twin(path, config, identify, runs)) is None or rank() > 0:
        return twin
    with locked(path):
        if not _is_unbegun(path):  # by now
            return None
        for entry in path.iterdir():
            entry.unlink()
        path.rmdir()
        path.symlink_to(os.path.relpath(twin.resolve(), path.parent.resolve()), target_is_directory=True)
    print(f"{path}: {twin} has the same configuration and is finished; linked to it", file=sys.stderr)
    return twin


def _find_twin(path: Path, config: TrainConfig, identify: Identify, runs: Path) -> Path | None:
    if not _is_unbegun(path):
        return None
    wanted = effective(config)
    for pattern in ("*/result.json", "*/*/result.json"):
        for result in sorted(runs.glob(pattern)):
            twin = RunFolder(result.parent)
            if twin.path.is_symlink() or twin.path.resolve() == path.resolve() or not twin.best.is_file():
                continue
            try:
                same, recorded = effective(read_config(twin.config)) == wanted, twin.read_result()
            except (InputError, OSError, ValueError):
                continue
            if same and (facts := identify()) is not None and not changed_data(recorded, facts):
                return twin.path
    return None


def _is_unbegun(path: Path) -> bool:
    """Whether nothing was achieved in a job's folder yet; between the folder and the link there is none."""
    return not path.is_symlink() and (not path.exists() or {entry.name for entry in path.iterdir()} <= BEGUN)
