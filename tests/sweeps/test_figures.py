import base64
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from rcm_cascade.sweeps.figures import (
    COLORS,
    INK,
    Look,
    difference_figure,
    gradient_figure,
    learning_figure,
    looks,
    loss_figure,
    region_figure,
)
from rcm_cascade.sweeps.paired import Difference
from rcm_cascade.sweeps.results import Spread

A, B = Look("model.levels=2", COLORS[0], "-"), Look("loss=$x$ & <b>", COLORS[1], "-")


def svg(source: str | None) -> str:
    assert source is not None
    head, data = source.split(",")
    assert head == "data:image/svg+xml;base64"
    text = base64.b64decode(data).decode()
    ET.fromstring(text)
    return text


def test_the_reference_is_black_and_the_others_differ() -> None:
    made = looks([str(i) for i in range(17)], "3")
    assert made[3] == Look("3", INK, "-")
    assert len({(look.color, look.dash) for look in made}) == 17
    assert [look.label for look in made] == [str(i) for i in range(17)]


def test_differences_are_filled_where_told_and_hollow_where_not() -> None:
    told, untold = Difference(0.2, (0.1, 0.3)), Difference(0.1, (-0.1, 0.3))
    panels = {"mean": {A.label: told, B.label: untold}, "ring": {A.label: Difference(None, None), B.label: told}}
    text = svg(difference_figure(panels, [A, B], "difference of Dice"))
    assert f"fill: {A.color}" in text
    hollow = svg(difference_figure({"mean": {A.label: untold}}, [A], "x"))
    assert f"fill: {A.color}" not in hollow
    assert f"stroke: {A.color}" in hollow
    assert text == svg(difference_figure(panels, [A, B], "difference of Dice"))
    assert difference_figure({"mean": {A.label: Difference(None, None)}}, [A], "x") is None
    assert difference_figure({"mean": {}}, [], "x") is None


def test_more_classes_than_columns_wrap() -> None:
    seven = {f"c{i}": {A.label: Difference(0.1, None)} for i in range(7)}
    assert svg(difference_figure(seven, [A], "x")).count("axes_") >= 7


def test_curves_have_lines_bands_and_points() -> None:
    curves = [np.array([[60.0 * s, s, 0.1 * s * k] for s in range(1, 5)]) for k in (1, 2)]
    text = svg(learning_figure({A.label: curves}, [A, B]))
    assert "fill-opacity: 0.14" in text
    assert A.color in text
    assert B.color not in text
    single = svg(loss_figure({A.label: [curves[0][:1]]}, [A]))
    assert "fill-opacity: 0.14" not in single
    assert A.color in single
    assert learning_figure({A.label: [np.zeros((0, 3))]}, [A]) is None


def test_regions_are_bars_beside_the_truth() -> None:
    panels = {"regions": {A.label: Spread(3.0, 0.5, 2), B.label: Spread(None, None, 0)}}
    with_truth = svg(region_figure(panels, {"regions": 1.5}, [A, B]))
    without = svg(region_figure(panels, {}, [A, B]))
    assert A.color in with_truth
    assert B.color not in with_truth
    assert "stroke-dasharray" in with_truth
    assert "stroke-dasharray" not in without
    assert region_figure({"regions": {A.label: Spread(None, None, 0)}}, {}, [A]) is None


def test_gradients_of_levels_of_different_depth_fit_one_grid() -> None:
    deep = {(1, "encoder1"): (0.1, 0.2), (2, "encoder1"): (1.0, 0.5), (2, "encoder2"): (1e-5, 0.0)}
    text = svg(gradient_figure({A.label: deep, B.label: {(1, "head"): (0.3, 0.3)}, "none": {}}))
    assert "<image" in text
    assert gradient_figure({"none": {}}) is None
    svg(gradient_figure({A.label: {(1, "head"): (0.0, 0.0)}}))


@pytest.mark.parametrize("value", ["a" * 90, "model.levels=2, " * 6])
def test_long_labels_are_wrapped(value: str) -> None:
    look = Look(value, INK, "-")
    svg(difference_figure({"mean": {value: Difference(0.1, (0.0, 0.2))}}, [look], "x"))
