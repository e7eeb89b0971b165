"""`rcm-cascade train`: trains a configuration, or a sweep of them, and writes the page of each run."""

from pathlib import Path

from rcm_cascade.report.run_page import write_run_page
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.train import train
from rcm_cascade.training.ranks import rank


def run(config: TrainConfig, path: Path) -> None:
    """Trains in a run folder and writes its page; launchers start processes that call this.

    Raises:
        InputError: if the configuration, the data or the folder is wrong.
    """
    result, folder = train(config, path), RunFolder(path)
    if rank() > 0:
        return
    if not folder.report.is_file() or folder.report.stat().st_mtime_ns < folder.result.stat().st_mtime_ns:
        write_run_page(folder, result)
