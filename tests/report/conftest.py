from pathlib import Path

import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.report.compare import Comparison, compare_configurations
from rcm_cascade.report.reading import read_outcome
from rcm_cascade.runs.jobs import read_sweep
from tests.report.factories import make_sweep


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three configurations of three seeds, with pictures; not to be changed."""
    return make_sweep(tmp_path_factory.mktemp("sweeps") / "levels", pictures=True)


@pytest.fixture(scope="session")
def compared(sweep_folder: Path) -> Comparison:
    """The same, compared."""
    sweep = read_sweep(sweep_folder)
    outcomes = {job.name: read_outcome(job) for job in sweep.jobs}
    return compare_configurations(sweep, outcomes, {}, RCM_CLASSES)
