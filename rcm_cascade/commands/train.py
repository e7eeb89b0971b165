"""`rcm-cascade train`: one run, and its page."""

from pathlib import Path
from typing import Any

from rcm_cascade.report.pages import write_run_page
from rcm_cascade.runs import train as runs
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.folder import RunFolder


def train(config: TrainConfig, path: Path) -> dict[str, Any]:
    """Trains as `rcm_cascade.runs.train.train` does; a run that was finished already keeps the page that it has."""
    folder = RunFolder(path)
    before = folder.result.read_bytes() if folder.result.is_file() else b""
    result = runs.train(config, path)
    if result and (not folder.report.is_file() or folder.result.read_bytes() != before):
        write_run_page(path)
    return result
