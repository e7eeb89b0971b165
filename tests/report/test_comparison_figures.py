import base64
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from rcm_cascade.evaluate.paired import Difference
from rcm_cascade.report.comparison_figures import (
    COLORS,
    INK,
    Look,
    difference_figure,
    learning_figure,
    looks,
    loss_figure,
    region_figure,
)
from rcm_cascade.report.spread import Spread

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
    crossed = svg(difference_figure({"mean": {A.label: Difference(0.1, None)}}, [A], "x"))
    assert "stroke-width: 2.2" in hollow  # the interval's line
    assert "stroke-width: 2.2" not in crossed
    assert f"stroke: {A.color}" in crossed
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


def test_a_legend_of_many_configurations_fits() -> None:
    curves = [np.array([[60.0 * s, s, 0.1 * s] for s in range(1, 5)])]
    many = looks([f"model.levels={i}, model.prior=softmax, loss.dice={i}" for i in range(24)], "")
    text = svg(learning_figure({look.label: curves for look in many}, many))
    height = float(text.split('viewBox="0 0 ')[1].split('"')[0].split()[1])
    legend = text[text.index('id="legend_1"') :]
    placed = [float(y) for y in re.findall(r"translate\(\S+ (\S+)\) scale\(0\.\d+ -", legend)]
    assert len(placed) > 24
    assert 0 < min(placed) < max(placed) < height


@pytest.mark.parametrize("value", ["a" * 90, "model.levels=2, " * 6])
def test_long_labels_are_wrapped(value: str) -> None:
    look = Look(value, INK, "-")
    svg(difference_figure({"mean": {value: Difference(0.1, (0.0, 0.2))}}, [look], "x"))
