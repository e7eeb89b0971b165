"""What W&B shows beside curves: scores by class, confusions, masks over a region; and a finished job's numbers."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import wandb
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.evaluate.confusion import dice, macro_mean, sensitivity, specificity
from rcm_cascade.pictures.plot import confusion_picture
from rcm_cascade.training.dashboard import Dashboard

MEASURES: Final = {"sensitivity": sensitivity, "specificity": specificity, "dice": dice}


def score_table(matrix: NDArray[np.int64], classes: ClassTable) -> wandb.Table:
    """A row a class, then the macro mean over the classes present in the truth; empty where undefined.

    Args:
        matrix: ``(C, C)`` int64, rows = truth.
        classes: the class table.
    """
    values = {name: measure(matrix) for name, measure in MEASURES.items()}
    rows: list[list[Any]] = [
        [name, int(matrix[i].sum()), *(_number(of_class[i]) for of_class in values.values())]
        for i, name in enumerate(classes.names)
    ]
    rows.append(["mean", int(matrix.sum()), *(_number(macro_mean(v, matrix)) for v in values.values())])
    return wandb.Table(columns=["class", "labelled pixels", *values], data=rows)


def confusion_image(matrix: NDArray[np.int64], classes: ClassTable) -> wandb.Image:
    """The confusion matrix, as in the report.

    A picture, not W&B's chart ``wandb/confusion_matrix/v1``: that one wants a prediction a pixel or shows bare counts,
    which only the commonest class fills; it reads the last table of a run, where pictures are leafed through by step;
    and it draws all chosen runs into one matrix, where pictures stand side by side.

    Args:
        matrix: ``(C, C)`` int64, rows = truth.
        classes: the class table.
    """
    return wandb.Image(confusion_picture(matrix, classes))


def region_image(
    grey: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    classes: ClassTable,
    caption: str,
) -> wandb.Image:
    """A region with two masks to lay over it, ``prediction`` and ``truth``. W&B gives the classes its own colours.

    Args:
        grey: ``(H, W)`` uint8.
        truth: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        prediction: ``(H, W)`` uint8 class ids.
        classes: the class table.
        caption: which region it is.
    """
    labels = {**dict(enumerate(classes.names)), UNLABELLED: "unlabelled"}
    masks = {
        name: {"mask_data": mask, "class_labels": labels}
        for name, mask in (("prediction", prediction), ("truth", truth))
    }
    # JPEG: the same region is sent at every validation, and speckle makes a PNG of it several times as large.
    return wandb.Image(grey, masks=masks, caption=caption, file_type="jpg")


def show_result(
    dashboard: Dashboard, result: Mapping[str, Any], metrics: Mapping[str, Any] | None, classes: ClassTable
) -> None:
    """Shows a finished job: its numbers in the run's summary, scores and confusions of the whole validation mosaics.

    Args:
        dashboard: the job's.
        result: as in result.json.
        metrics: as in ``validation/metrics.json``; None: without a validation set.
        classes: the class table.
    """
    if not dashboard.active:
        return
    dashboard.summarise(result_numbers(result, metrics))
    if metrics is not None:
        matrix = np.array(metrics["confusion"], np.int64)
        dashboard.show(
            {
                "validation/scores": score_table(matrix, classes),
                "validation/confusion": confusion_image(matrix, classes),
            }
        )


def result_numbers(result: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """The numbers of a finished job, by which W&B's table of runs is sorted and its scatter plots are drawn.

    Args:
        result: as in result.json: its numbers become ``result/parameters``, ``result/seconds``, ….
        metrics: as in ``validation/metrics.json``: becomes ``validation/mean_dice``, ``validation/dice_ring``, …; None:
            without a validation set.
    """
    found = {f"result/{key}": value for key, value in result.items()}
    if metrics is not None:
        found["validation/pixel_accuracy"] = metrics["pixel_accuracy"]
        for measure in MEASURES:
            found[f"validation/mean_{measure}"] = metrics["mean"][measure]
            for row in metrics["classes"]:
                found[f"validation/{measure}_{row['name']}"] = row[measure]
        calibration = metrics.get("calibration") or {}
        found |= {f"validation/{key}": calibration.get(key) for key in ("ece", "ece_at_temperature")}
    return {k: v for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
