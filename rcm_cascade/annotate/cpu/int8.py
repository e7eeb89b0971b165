"""A cascade in 8-bit integers: OpenVINO graphs that NNCF has quantised, in the folder ``.int8`` beside the checkpoint.

Quantised is the finest level, four fifths of the operations: of the coarser levels, whose error the finer ones take
over, the float32 graphs run. So they do at the mosaic's border, where masks go in.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import openvino as ov

from rcm_cascade.annotate.backends import Backend
from rcm_cascade.annotate.cpu.openvino_backend import Build, OpenVinoBackend, core
from rcm_cascade.annotate.cpu.strips import Part
from rcm_cascade.errors import InputError
from rcm_cascade.models import Network
from rcm_cascade.models.checkpoint import digest

FORMAT: Final = 1
"""Counted up when graphs of an older version must not be used."""


@dataclass(frozen=True)
class Int8Report:
    """What int8 costs, measured on mosaics that it was not calibrated on.

    Args:
        checkpoint_sha256: of the checkpoint that was quantised.
        agreement: share of pixels with the label that float32 gives them.
        sensitivity: of each class, ``[float32, int8]``; None where the class is not labelled.
        calibrated_on: names of mosaics.
        measured_on: names of mosaics.
        format: of the files.
    """

    checkpoint_sha256: str
    agreement: float
    sensitivity: dict[str, tuple[float | None, float | None]]
    calibrated_on: list[str]
    measured_on: list[str]
    format: int = FORMAT


def int8_folder(checkpoint: Path) -> Path:
    """Where a checkpoint's quantised graphs and their report lie."""
    return checkpoint.with_suffix(".int8")


def graph_path(folder: Path, part: Part) -> Path:
    """Of the finest level's encoder or decoder."""
    return folder / f"{part}.xml"


def read_report(checkpoint: Path) -> Int8Report | None:
    """What was measured when a checkpoint was quantised; None: it was not, or it has been trained on since."""
    try:
        report = Int8Report(**json.loads((int8_folder(checkpoint) / "report.json").read_text("utf-8")))
        known = (report.format, report.checkpoint_sha256) == (FORMAT, digest(checkpoint))
    except (OSError, ValueError, TypeError):
        return None
    return report if known else None


def open_int8(model: Network, checkpoint: Path | None) -> Backend | str:
    """A `Factory`; see there."""
    if checkpoint is None or read_report(checkpoint) is None:
        return (
            f"checkpoint {checkpoint} has not been quantised: `rcm-cascade annotate --precision int8` does so on "
            "training mosaics, and says what it costs"
        )
    return Int8Backend(model, int8_folder(checkpoint))


class Int8Backend(OpenVinoBackend):
    """OpenVINO with quantised graphs.

    Args:
        model: that was quantised.
        folder: that holds the graphs.
    """

    def __init__(self, model: Network, folder: Path) -> None:
        super().__init__(model, "int8")
        self._folder = folder

    def _builds(self, level: int) -> dict[Part, Build]:
        exact = super()._builds(level)
        if level < len(self.geometry) - 1:
            return exact
        return {part: self._quantised(part, build) for part, build in exact.items()}

    def _quantised(self, part: Part, exact: Build) -> Build:
        def build(width: int, rows: int, masked: bool) -> ov.Model:
            plain = exact(width, rows, masked)
            if masked:
                return plain
            path = graph_path(self._folder, part)
            try:
                graph = core().read_model(path)
            except RuntimeError as error:
                raise InputError(
                    f"{path} cannot be read ({str(error).splitlines()[0]}); delete {self._folder} and it is made again"
                ) from error
            graph.reshape({index: list(given.shape) for index, given in enumerate(plain.inputs)})
            return graph

        return build
