"""`rcm-cascade train`: one run, and its page."""

from pathlib import Path
from typing import Any

from rcm_cascade.report.pages import write_run_page
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.train import train


def run(config: TrainConfig, path: Path) -> dict[str, Any]:
    """Trains in a run folder and writes its page; a run that was finished already keeps the page that it has.

    Launchers start processes that call this.

    Raises:
        InputError: if the configuration, the data or the folder is wrong.
    """
    folder = RunFolder(path)
    before = folder.result.read_bytes() if folder.result.is_file() else b""
    result = train(config, path)
    if result and (not folder.report.is_file() or folder.result.read_bytes() != before):
        write_run_page(path)
    return result
