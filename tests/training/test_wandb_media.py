from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.patches import RegionDataset
from rcm_cascade.training.wandb import open_wandb, region_image, result_numbers
from tests.data.factories import memory_mosaic
from tests.training.wandb_file import WandbFile, read_wandb

MATRIX = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
"""The third class is nowhere."""


def shown(folder: Path, media: dict[str, Any]) -> WandbFile:
    """What a run's file says of media."""
    run = open_wandb(folder, project="p", config={})
    assert run is not None
    run.log_metrics(media, step=2)
    run.log_metrics({"train/loss": 1.0}, step=2)
    run.close(0)
    return read_wandb(folder)


def test_masks_keep_every_class_and_what_is_unlabelled(
    wandb_offline: Path,
    tmp_path: Path,
    classes: ClassTable,
    make_texture: Callable[..., NDArray[np.uint8]],
    make_labels: Callable[..., NDArray[np.uint8]],
) -> None:
    grey, truth = make_texture(56, 56), make_labels(56, 56)
    prediction = np.where(truth == 255, 1, 2 - np.minimum(truth, 2)).astype(np.uint8)
    regions = RegionDataset([memory_mosaic(grey, truth, name="m1")], 56, 1, 3)
    content = shown(tmp_path, {"val/regions": [region_image(regions, 0, prediction, classes)]})
    ((_, value),) = content.column("val/regions")
    assert value["captions"] == ["m1, from row 0, column 0"]
    picture = content.pixels(value["filenames"][0])
    assert np.abs(picture.astype(int) - grey).mean() < 3
    (masks,) = value["all_masks"]
    for name, mask in (("truth", truth), ("prediction", prediction)):
        assert np.array_equal(content.pixels(masks[name]["path"]), mask)
        labels = content.config["_wandb"]["mask/class_labels"][f"val/regions_wandb_delimeter_{name}"]["value"]
        assert labels == {"0": "a", "1": "b", "2": "c", "255": "unlabelled"}


def test_a_result_is_shown_behind_the_last_step(wandb_offline: Path, tmp_path: Path, classes: ClassTable) -> None:
    scores = {"sensitivity": 0.5, "specificity": 0.6, "dice": 0.4}
    rows = [{"name": name, **scores} for name in classes.names]
    metrics = {"confusion": MATRIX.tolist(), "pixel_accuracy": 0.7, "mean": scores, "classes": rows}
    metrics["calibration"] = {"ece": 0.1, "ece_at_temperature": None}
    run = open_wandb(tmp_path, project="p", config={})
    assert run is not None
    run.log_metrics({"train/loss": 1.0}, step=2)
    run.log_result({"parameters": 10, "hash": "h"}, metrics, classes, None)
    run.close(0)
    content = read_wandb(tmp_path)
    assert content.summary["result/parameters"] == 10
    assert content.summary["validation/dice_b"] == 0.4
    ((step, picture),) = content.column("validation/confusion")
    assert step == 3
    colours = content.pixels(picture["filenames"][0])
    assert min(colours.shape[:2]) > 200
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 10


def test_numbers_of_a_job_become_columns() -> None:
    result = {"hash": "h", "synthetic": True, "parameters": 10, "temperature": None, "validation": {"dice": 0.1}}
    scores = {"sensitivity": 0.5, "specificity": 0.6, "dice": None}
    metrics = {
        "pixel_accuracy": 0.7, "mean": scores, "classes": [{"name": "ring", **scores}],
        "calibration": {"ece": 0.04, "ece_at_temperature": None, "bins": 15},
    }  # fmt: skip
    assert result_numbers(result, metrics) == {
        "result/parameters": 10,
        "validation/pixel_accuracy": 0.7,
        "validation/mean_sensitivity": 0.5,
        "validation/mean_specificity": 0.6,
        "validation/sensitivity_ring": 0.5,
        "validation/specificity_ring": 0.6,
        "validation/ece": 0.04,
    }
    assert result_numbers(result, None) == {"result/parameters": 10}
