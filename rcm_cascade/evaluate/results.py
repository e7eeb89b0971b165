"""What was counted on each mosaic: the matrices and regions from which every number derives, and their file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.coherence import Coherence, measure_coherence
from rcm_cascade.evaluate.confusion import confusion_matrix
from rcm_cascade.models.checkpoint import digest

COUNTS: Final = ("regions", "small_regions", "area_px", "small_area_px")
"""The arrays of a `Coherence`, by class."""

CHECKPOINT_KEY: Final = "checkpoint_sha256"
"""Of `metrics.json`: the digest of the checkpoint that was scored."""


@dataclass(frozen=True)
class LevelResult:
    """How one level's own map of a mosaic was predicted, on the mosaic's own grid.

    Args:
        factor: down-sampling of the level.
        confusion: ``(C, C)`` int64, rows = truth.
        coherence: of the map inside the labelled pixels, or ``None`` if not measured.
    """

    factor: int
    confusion: NDArray[np.int64]
    coherence: Coherence | None = None


@dataclass(frozen=True)
class MosaicResult:
    """How one mosaic was predicted, on its own grid.

    Args:
        mosaic: as in the manifest.
        patient: whose it is; the mosaic itself where no patient is given.
        site: where it comes from, or empty.
        pixel_size_um: of the mosaic's own grid, or ``None``.
        confusion: ``(C, C)`` int64, rows = truth.
        prediction_coherence: of the predicted map inside the labelled pixels, or ``None`` if not measured.
        truth_coherence: of the truth, the same pixels.
        levels: of each level's own map, coarse to fine; empty if not measured.
        patient_given: whether the manifest names the patient.
    """

    mosaic: str
    patient: str
    site: str
    pixel_size_um: float | None
    confusion: NDArray[np.int64]
    prediction_coherence: Coherence | None = None
    truth_coherence: Coherence | None = None
    levels: tuple[LevelResult, ...] = ()
    patient_given: bool = True


def score_mosaic(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    *,
    classes: ClassTable,
    pixel_size_um: float | None,
    coherence: bool = True,
    levels: Iterable[tuple[int, NDArray[np.uint8]]] = (),
    **mosaic: Any,  # noqa: ANN401 (fields of MosaicResult)
) -> MosaicResult:
    """Compares label maps of a mosaic with its truth.

    Args:
        prediction: class ids on the mosaic's own grid, ``(H, W)`` uint8.
        truth: the same, 255 = unlabelled.
        classes: the class table.
        pixel_size_um: of the mosaic's own grid, or ``None``.
        coherence: whether to count regions too (about 0.1 s per megapixel and map).
        levels: down-sampling and own map of each level, coarse to fine, on the mosaic's own grid; taken one by one.
        **mosaic: what else `MosaicResult` has: ``mosaic``, ``patient``, ``site`` and ``patient_given``.

    Raises:
        ValueError: if the shapes differ or a labelled pixel has no class id.
    """
    labelled = truth != UNLABELLED

    def measured(labels: NDArray[np.uint8]) -> Coherence | None:
        return measure_coherence(labels, labelled, len(classes), pixel_size_um) if coherence else None

    matrix, regions = confusion_matrix(prediction, truth, len(classes)), measured(prediction)
    scored = []
    for factor, own in levels:
        if np.array_equal(own, prediction):  # the finest level of a cascade
            scored.append(LevelResult(factor, matrix, regions))
        else:
            scored.append(LevelResult(factor, confusion_matrix(own, truth, len(classes)), measured(own)))
    counted: dict[str, Any] = {
        "prediction_coherence": regions,
        "truth_coherence": measured(truth),
        "levels": tuple(scored),
    }
    return MosaicResult(pixel_size_um=pixel_size_um, confusion=matrix, **counted, **mosaic)


def format_results(results: Sequence[MosaicResult], classes: ClassTable) -> str:
    """The content of `confusions.json`: all that is needed to pool these mosaics with others later."""
    mosaics = [asdict(result) for result in results]
    for plain in mosaics:
        plain["coherence"] = {name: plain.pop(f"{name}_coherence") for name in ("prediction", "truth")}
    content = {"classes": classes.names, "mosaics": mosaics}
    return json.dumps(content, default=np.ndarray.tolist, allow_nan=False, ensure_ascii=False) + "\n"


def read_results(path: Path) -> tuple[tuple[str, ...], list[MosaicResult]]:
    """Reads a `confusions.json`.

    Returns:
        The class names in id order, and one result a mosaic.

    Raises:
        InputError: if the file is missing, damaged, or contradicts itself.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        names = tuple(str(name) for name in content["classes"])
        results = [_mosaic_result(plain, len(names)) for plain in content["mosaics"]]
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; the folder was written by an older version: run `rcm-cascade evaluate` again"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}); delete it and run `rcm-cascade evaluate` again"
        ) from error
    return names, results


def is_evaluation_of(folder: Path, checkpoint: Path) -> bool:
    """Whether a folder holds what `rcm_cascade.runs.score.score` writes of a checkpoint, as that is now.

    Where the checkpoint is gone, the files stand as they are: there is nothing to make them anew from.

    Args:
        folder: of the evaluation.
        checkpoint: that it should be of.
    """
    if not all((folder / name).is_file() for name in ("metrics.json", "confusions.json")):
        return False
    try:
        recorded = json.loads((folder / "metrics.json").read_text(encoding="utf-8")).get(CHECKPOINT_KEY)
    except (OSError, ValueError, AttributeError):
        recorded = None
    return not checkpoint.is_file() or recorded == digest(checkpoint)


def _mosaic_result(plain: dict[str, Any], classes: int) -> MosaicResult:
    def coherence(counts: dict[str, Any] | None) -> Coherence | None:
        if counts is None:
            return None
        arrays = {name: _array(counts[name], (classes,)) for name in COUNTS}
        return Coherence(**arrays, pixel_size_um=plain["pixel_size_um"])

    regions, levels, shape = plain.pop("coherence"), plain.pop("levels", ()), (classes, classes)
    plain |= {f"{name}_coherence": coherence(regions[name]) for name in ("prediction", "truth")}
    plain["confusion"] = _array(plain["confusion"], shape)
    scored = (LevelResult(v["factor"], _array(v["confusion"], shape), coherence(v["coherence"])) for v in levels)
    return MosaicResult(levels=tuple(scored), **plain)


def _array(values: list[Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
    array = np.asarray(values, np.int64)
    if array.shape != shape:
        raise ValueError(f"an array has shape {array.shape}, expected {shape}")
    return array
