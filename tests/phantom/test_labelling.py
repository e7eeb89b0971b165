from dataclasses import replace

import cv2
import numpy as np
import pytest

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.phantom.artifacts import draw_artifacts
from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.labelling import Painter, true_labels
from rcm_cascade.phantom.layout import draw_layout
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import make_recipe

SIZE_UM = (4000.0, 4000.0)
GRID = Grid.covering(SIZE_UM, 8.0)
PATIENT = replace(make_patient(0, 0, 1), wrinkle_density=1.5, follicles=0.0, ducts=0.0, hairs=0.0)
RECIPE = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=8, patient=PATIENT)
RECIPE = replace(RECIPE, lesion_share=0.9, no_contact_share=0.05)
LAYOUT = draw_layout(RECIPE, np.random.default_rng(0))
ARTIFACTS = draw_artifacts(RECIPE, Grid.covering(SIZE_UM, 4.0), np.random.default_rng(1))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_share_aimed_at_is_labelled(share: float) -> None:
    painter = Painter(replace(RECIPE, labelled_share=share), LAYOUT, ARTIFACTS, np.random.default_rng(2))
    assert (painter.paint(GRID, slice(0, 500)) != UNLABELLED).mean() == pytest.approx(share, abs=0.04)


def test_wrinkles_inside_the_lesion_are_left_open() -> None:
    painter = Painter(replace(RECIPE, labelled_share=0.85), LAYOUT, ARTIFACTS, np.random.default_rng(2))
    labels = painter.paint(GRID, slice(0, 500))
    dark = (ARTIFACTS.dark.on(GRID) > 0.5) & (LAYOUT.lesion_depth.on(GRID) > 300)
    assert dark.sum() > 500
    assert np.isin(labels[dark], (1, UNLABELLED)).mean() > 0.99


def test_strips_are_cut_from_the_whole() -> None:
    painter = Painter(RECIPE, LAYOUT, ARTIFACTS, np.random.default_rng(2))
    whole, truth = painter.paint(GRID, slice(0, 500)), true_labels(RECIPE, LAYOUT, ARTIFACTS, GRID, slice(0, 500))
    rows = slice(130, 260)
    assert (painter.paint(GRID, rows) == whole[rows]).mean() > 0.999
    assert (true_labels(RECIPE, LAYOUT, ARTIFACTS, GRID, rows) == truth[rows]).mean() > 0.999
    assert truth.max() < 6


def test_small_artifacts_are_left_unmarked_and_thick_ones_are_marked() -> None:
    patient = replace(PATIENT, wrinkle_density=0.0, openings=0.0, hairs=0.3, follicles=2.0, spindles=0.0)
    recipe = replace(RECIPE, patient=patient, labelled_share=0.85, bands=0.001, no_contact_share=0.2, motion=0.0)
    artifacts = draw_artifacts(recipe, Grid.covering(SIZE_UM, 4.0), np.random.default_rng(3))
    labels = Painter(recipe, LAYOUT, artifacts, np.random.default_rng(2)).paint(GRID, slice(0, 500))
    true = artifacts.mask_on(GRID)
    thick = cv2.erode(true.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    thin = true & (cv2.dilate((cv2.erode(true.astype(np.uint8), np.ones((9, 9), np.uint8))), np.ones((13, 13))) == 0)
    labelled = labels != UNLABELLED
    assert (labels[thick & labelled] == 1).mean() > 0.97
    assert (labels[thin & labelled] == 1).mean() < 0.6
    assert (labels[~true & labelled] == 1).mean() < 0.03
