"""A small phantom data set and a run on it, made once for all tests."""

from pathlib import Path

import pytest

from rcm_cascade.commands.train import run
from rcm_cascade.phantom import write_phantoms
from rcm_cascade.runs.compose import compose_config


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return write_phantoms(folder, mosaics=6, size_mm=(1.6, 1.8), pixel_size_um=8, seed=0, processes=1)


def tiny(root: Path, *more: str) -> list[str]:
    """Overrides of a run of seconds."""
    return ["data=folder", f"data.root={root}", "model.base_filters=2", "+debug=fast", *more]


@pytest.fixture(scope="session")
def finished_run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run(compose_config(tiny(phantoms)), folder)
    return folder
