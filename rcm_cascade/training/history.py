"""metrics.csv: every logged number, one row a step, kept across resumes."""

import csv
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from rcm_cascade.files import written_whole

Row = dict[str, float]


class MetricsCsv(Logger):
    """Writes ``metrics.csv``: columns epoch, step, then one a metric; blank where a row has no value.

    Lightning's own CSVLogger deletes the file when a run resumes; this one goes on with it, without the rows that the
    resumed run will write again.

    Args:
        path: of the file.
        resumed_step: rows after this step are dropped from an existing file; None: the file is begun anew.
    """

    name = version = "metrics"

    def __init__(self, path: Path, resumed_step: int | None = None) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, Row] = {}
        if resumed_step is not None and path.is_file():
            self.rows = {int(r["step"]): r for r in read_history(path) if r["step"] <= resumed_step}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds to the row of the step."""
        row = self.rows.setdefault(step or 0, {"step": float(step or 0)})
        row.update({k: float(v) for k, v in metrics.items()})

    @rank_zero_only
    def log_hyperparams(self, *_: object, **__: object) -> None:
        """Nothing: config.yaml holds them."""

    @rank_zero_only
    def save(self) -> None:
        """Writes the whole file, whole or not at all; a run has one row an epoch, so it is small."""
        names = sorted({k for row in self.rows.values() for k in row} - {"epoch", "step"})
        with written_whole(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", "step", *names], restval="")
            writer.writeheader()
            for row in self.rows.values():
                whole = {k: int(row[k]) for k in ("epoch", "step") if k in row}
                writer.writerow({k: f"{v:.6g}" for k, v in row.items()} | whole)


def read_history(path: Path) -> list[Row]:
    """The rows of a metrics.csv, blanks left out."""
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
