"""The lesion: the area of its patterns, or what somebody has drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.annotate.lesion import lesion_of_patterns, read_lesion_mask
from rcm_cascade.annotate.outputs import write_annotation
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.classes import ClassTable, LabelClass
from rcm_cascade.errors import InputError
from tests.annotate.annotated import annotated

PATTERNS = (2, 3, 4, 5)
UM = 10.0
"""So that a field of 0.5 mm is 50 px."""


def test_holes_are_filled_and_gaps_up_to_half_a_millimetre_closed() -> None:
    labels = np.zeros((400, 600), np.uint8)
    labels[100:300, 100:300] = 4
    labels[160:240, 160:240] = 1  # a hole of 0.8 mm, artifact
    labels[100:300, 330:400] = 3  # a gap of 0.3 mm
    labels[100:300, 500:560] = 2  # one of 1 mm
    lesion = lesion_of_patterns(labels, PATTERNS, UM)
    assert lesion.shape == labels.shape
    assert lesion[160:240, 160:240].all()
    assert lesion[120:280, 300:330].all()
    assert not lesion[:, 420:480].any()
    assert lesion[100:300, 500:560].all()
    assert not lesion[:90].any()


def test_an_outline_that_is_not_closed_holds_nothing() -> None:
    labels = np.zeros((500, 500), np.uint8)
    labels[100:400, 100:400] = 3
    labels[130:370, 130:400] = 0
    assert not lesion_of_patterns(labels, PATTERNS, UM)[250, 300]
    assert not lesion_of_patterns(np.ones((70, 30), np.uint8), PATTERNS, UM).any()
    assert lesion_of_patterns(np.full((70, 30), 5, np.uint8), PATTERNS, UM).all()
    assert lesion_of_patterns(np.full((1, 1), 5, np.uint8), PATTERNS, None).all()


def test_what_is_in_a_lesion_adds_up_and_artifact_inside_it_counts(tmp_path: Path) -> None:
    mosaic = annotated(pixel_size_um=UM)
    content = json.loads(write_annotation(tmp_path, "a.tif", mosaic)["summary"].read_text("utf-8"))
    lesion, uninformative = content["lesion"], content["uninformative"]
    assert mosaic.lesion is not None
    assert sum(c["pixels"] for c in lesion["classes"]) == lesion["pixels"] == mosaic.lesion.sum()
    assert sum(c["share"] for c in lesion["classes"]) == pytest.approx(1)
    assert lesion["area_mm2"] == pytest.approx(lesion["pixels"] * 1e-4)
    assert "closed" in lesion["found_by"]
    assert uninformative["mosaic"] == content["classes"][1]["share"]
    assert uninformative["lesion"] == lesion["classes"][1]["share"]
    assert uninformative["reimage_above"] == 0.25
    assert uninformative["reimage"] == (max(uninformative["mosaic"], uninformative["lesion"]) > 0.25)


def test_a_mask_over_everything_gives_the_mosaic_s_numbers(tmp_path: Path) -> None:
    mosaic = annotated(lesion_mask=np.ones((300, 400), bool))
    content = json.loads(write_annotation(tmp_path, "a.tif", mosaic)["summary"].read_text("utf-8"))
    assert content["lesion"]["classes"] == content["classes"]
    assert content["lesion"]["found_by"] == "mask"
    assert content["uninformative"]["mosaic"] == content["uninformative"]["lesion"]


def test_an_empty_mask_and_a_table_without_patterns(tmp_path: Path) -> None:
    empty = annotated(lesion_mask=np.zeros((300, 400), bool))
    content = json.loads(write_annotation(tmp_path, "a.tif", empty)["summary"].read_text("utf-8"))
    assert content["lesion"]["pixels"] == 0
    assert content["uninformative"]["lesion"] == 0
    classes = ClassTable(tuple(LabelClass(i, f"c{i}", f"#0000{i}0") for i in range(6)))
    mosaic = annotated()
    other = replace(mosaic, header=replace(mosaic.header, classes=classes))
    content = json.loads(write_annotation(tmp_path, "b.tif", other)["summary"].read_text("utf-8"))
    assert content["lesion"] is None
    assert content["uninformative"] == {
        "mosaic": None, "lesion": None, "reimage_above": 0.25, "reimage": False, "reason": [],
    }  # fmt: skip


@pytest.mark.parametrize(("above", "reason"), [(0.1, ["mosaic", "lesion"]), (0.2, ["mosaic"]), (0.5, [])])
def test_the_flag_says_what_is_above(above: float, reason: list[str], tmp_path: Path) -> None:
    labels = np.full((300, 400), 4, np.uint8)
    labels[:, 300:] = 1  # a quarter of the mosaic
    mask = np.zeros((300, 400), bool)
    mask[:, 200:320] = True  # a sixth of the lesion
    mosaic = annotated(labels=labels, lesion_mask=mask)
    paths = write_annotation(tmp_path, "a.tif", mosaic, wanted=Wanted(entropy=False, reimage_above=above))
    found = json.loads(paths["summary"].read_text("utf-8"))["uninformative"]
    assert (found["reason"], found["reimage"]) == (reason, bool(reason))


def test_a_mask_of_another_size_is_brought_to_the_mosaic_s(tmp_path: Path) -> None:
    drawn = np.zeros((30, 40), np.uint8)
    drawn[10:20, 15:25] = 255
    Image.fromarray(drawn).save(tmp_path / "a.png")
    mask = read_lesion_mask(tmp_path / "a.png", "a", (300, 400))
    assert mask.dtype == bool
    assert mask[100:200, 150:250].all()
    assert mask.sum() == 100 * 100
    assert np.array_equal(read_lesion_mask(tmp_path, "a", (300, 400)), mask)


def test_a_mask_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 50), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="draw the lesion on the mosaic"):
        read_lesion_mask(tmp_path / "a.png", "a", (300, 400))
    with pytest.raises(InputError, match="holds 0 masks of the mosaic b"):
        read_lesion_mask(tmp_path, "b", (300, 400))
    with pytest.raises(InputError, match=r"gone\.png"):
        read_lesion_mask(tmp_path / "gone.png", "a", (300, 400))
