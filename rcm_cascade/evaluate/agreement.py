"""How far readers agree on pixels that all of them have labelled, and what a clinician says mistakes cost."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.bootstrap import draw_patients, percentile_interval, pool_by_patient
from rcm_cascade.evaluate.confusion import confusion_matrix
from rcm_cascade.evaluate.metrics import Numbers
from rcm_cascade.yaml_file import read_yaml

DRAWS: Final = 1000


def votes(maps: Sequence[NDArray[np.uint8]], classes: int) -> NDArray[np.int64]:
    """What Fleiss' kappa derives from: ``(C + 1, R + 1)``.

    Row c counts the pixels to which r of R readers gave class c; the last row has in its first column the pixels that
    all of them have labelled.

    Args:
        maps: of the readers, of one shape.
        classes: of the class table.
    """
    everywhere = np.logical_and.reduce([each != UNLABELLED for each in maps])
    found = np.zeros((classes + 1, len(maps) + 1), np.int64)
    found[classes, 0] = everywhere.sum()
    for label in range(classes):
        given = sum((each == label)[everywhere].astype(np.uint8) for each in maps)
        found[label] = np.bincount(np.asarray(given, np.int64).ravel(), minlength=len(maps) + 1)
    return found


def fleiss_kappa(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Fleiss' kappa of each class against all others, and of all together: ``(…, C + 1, R + 1)`` to ``(…, C + 1)``.

    Source: Fleiss 1971, "Measuring nominal scale agreement among many raters"; of one class by itself, Fleiss, Levin
    and Paik 2003, chapter 18.3. NaN where all or none of the pixels have the class.
    """
    readers = counts.shape[-1] - 1
    pixels = counts[..., -1, 0].astype(float)[..., np.newaxis]
    given = np.arange(readers + 1)
    counts = counts[..., :-1, :]
    share = (counts * given).sum(axis=-1) / (pixels * readers)
    pairs = (counts * given * (given - 1)).sum(axis=-1) / (pixels * readers * (readers - 1))
    # A pair that agrees gives the class twice, or not at all.
    agreed = 1 - 2 * (share - pairs)
    expected = share**2 + (1 - share) ** 2
    together = pairs.sum(axis=-1, keepdims=True), (share**2).sum(axis=-1, keepdims=True)
    observed, chance = np.concatenate([agreed, together[0]], axis=-1), np.concatenate([expected, together[1]], axis=-1)
    kappa = np.full(observed.shape, np.nan)
    np.divide(observed - chance, 1 - chance, out=kappa, where=chance < 1)
    return kappa


def cohen_kappa(matrices: NDArray[Any]) -> NDArray[np.float64]:
    """Cohen's kappa of each class against all others, and of all together: ``(…, C, C)`` to ``(…, C + 1)``.

    Source: Cohen 1960, "A coefficient of agreement for nominal scales". NaN where there is nothing to agree on.
    """
    total = matrices.sum(axis=(-2, -1)).astype(float)[..., np.newaxis]
    with np.errstate(invalid="ignore", divide="ignore"):
        rows, cols = matrices.sum(axis=-1) / total, matrices.sum(axis=-2) / total
        both = np.diagonal(matrices, axis1=-2, axis2=-1) / total
    observed, expected = 1 - rows - cols + 2 * both, rows * cols + (1 - rows) * (1 - cols)
    observed = np.concatenate([observed, both.sum(axis=-1, keepdims=True)], axis=-1)
    expected = np.concatenate([expected, (rows * cols).sum(axis=-1, keepdims=True)], axis=-1)
    kappa = np.full(observed.shape, np.nan)
    np.divide(observed - expected, 1 - expected, out=kappa, where=expected < 1)
    return kappa


def agreement(
    maps: Mapping[str, Sequence[NDArray[np.uint8]]], patients: Sequence[str], classes: ClassTable
) -> dict[str, Any]:
    """Kappas of two or more readers with bootstrap intervals over patients, in plain types.

    Args:
        maps: by reader, label maps of the same mosaics in one order.
        patients: of each mosaic.
        classes: the class table.
    """
    readers, names = list(maps), (*classes.names, "all classes")
    found: dict[str, Any] = {"readers": readers, "patients": len(set(patients)), "fleiss": None, "pairs": []}
    if len(readers) > 2:
        counts = [votes(each, len(classes)) for each in zip(*maps.values(), strict=True)]
        found["fleiss"] = _with_intervals("kappa", counts, patients, fleiss_kappa, names)
    for one, other in combinations(readers, 2):
        matrices = [_both(a, b, len(classes)) for a, b in zip(maps[one], maps[other], strict=True)]
        found["pairs"].append(
            {"readers": [one, other], "cohen": _with_intervals("kappa", matrices, patients, cohen_kappa, names)}
            | {"pixels": int(np.sum(matrices))}
        )
    return found


def _both(one: NDArray[np.uint8], other: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    truth = np.where(other == UNLABELLED, UNLABELLED, one)
    return confusion_matrix(np.where(truth == UNLABELLED, 0, other), truth, classes)


def _with_intervals(
    key: str, counts: Sequence[NDArray[Any]], patients: Sequence[str], numbers: Numbers, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Numbers of sums over patients by name, each with its bootstrap interval."""
    pooled = pool_by_patient(counts, patients)
    values, alone = numbers(pooled.sum(axis=0)), numbers(pooled)
    drawn = numbers(np.tensordot(draw_patients(len(pooled), DRAWS, 0), pooled, axes=1))
    found = []
    for name, value, column, defined in zip(names, values, drawn.T, np.isfinite(alone).sum(axis=0), strict=True):
        interval = percentile_interval(column, patients=int(defined))
        number = None if np.isnan(value) else float(value)
        found.append({"name": name, key: number, f"{key}_ci": None if interval is None else list(interval)})
    return found


_Costs = TypeAdapter(dict[str, dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]])


def read_costs(path: Path, classes: ClassTable) -> NDArray[np.float64]:
    """What it costs to call a pixel of one class another, ``(C, C)``, rows = truth.

    The file has ``truth: {prediction: cost}``; what it does not name costs 1, and what is right nothing.

    Raises:
        InputError: if it cannot be read, or names no class.
    """
    try:
        given = _Costs.validate_python(read_yaml(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a YAML file of costs") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is no table of costs ({error.errors()[0]['msg']}); write 'truth: {{prediction: cost}}' a line, "
            "costs from 0 on"
        ) from error
    costs = 1 - np.eye(len(classes))
    for truth, row in given.items():
        for prediction, cost in row.items():
            for name in (truth, prediction):
                if name not in classes.names:
                    raise InputError(f"{path} names {name!r}; the classes are {', '.join(classes.names)}")
            if truth == prediction and cost:
                raise InputError(f"{path} lets {truth} cost {cost:g} where it is right; leave that out")
            costs[classes.names.index(truth), classes.names.index(prediction)] = cost
    return costs


def mean_costs(
    matrices: Sequence[NDArray[np.int64]], patients: Sequence[str], costs: NDArray[np.float64], classes: ClassTable
) -> dict[str, Any]:
    """Cost of a labelled pixel, and of one of each class, with bootstrap intervals over patients; None: undefined."""

    def of(sums: NDArray[Any]) -> NDArray[np.float64]:
        paid, pixels = (sums * costs).sum(axis=-1), sums.sum(axis=-1)
        paid = np.concatenate([paid, paid.sum(axis=-1, keepdims=True)], axis=-1)
        pixels = np.concatenate([pixels, pixels.sum(axis=-1, keepdims=True)], axis=-1)
        mean = np.full(paid.shape, np.nan)
        np.divide(paid, pixels, out=mean, where=pixels > 0)
        return mean

    *by_class, mean = _with_intervals("cost", matrices, patients, of, (*classes.names, "all classes"))
    return {"matrix": costs.tolist(), "classes": by_class, "mean": mean}
