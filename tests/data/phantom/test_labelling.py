from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.data.phantom.artifacts import draw_artifacts
from rcm_cascade.data.phantom.fields import Grid
from rcm_cascade.data.phantom.labelling import Painter, true_labels
from rcm_cascade.data.phantom.layout import draw_layout
from rcm_cascade.data.phantom.people import make_patient
from rcm_cascade.data.phantom.recipe import make_recipe
from rcm_cascade.labels import UNLABELLED

SIZE_UM = (4000.0, 4000.0)
GRID = Grid.covering(SIZE_UM, 8.0)
PATIENT = replace(make_patient(0, 0, 1), wrinkle_density=1.5)
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
    dark = (ARTIFACTS.shadow.on(GRID) > 0.5) & (LAYOUT.lesion_depth.on(GRID) > 300)
    assert dark.sum() > 500
    assert np.isin(labels[dark], (1, UNLABELLED)).mean() > 0.99


def test_strips_are_cut_from_the_whole() -> None:
    painter = Painter(RECIPE, LAYOUT, ARTIFACTS, np.random.default_rng(2))
    whole, truth = painter.paint(GRID, slice(0, 500)), true_labels(RECIPE, LAYOUT, ARTIFACTS, GRID, slice(0, 500))
    rows = slice(130, 260)
    assert (painter.paint(GRID, rows) == whole[rows]).mean() > 0.999
    assert (true_labels(RECIPE, LAYOUT, ARTIFACTS, GRID, rows) == truth[rows]).mean() > 0.999
    assert truth.max() < 6
