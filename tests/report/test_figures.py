import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.evaluate.bootstrap import Interval
from rcm_cascade.evaluate.calibration import LogitSample, measure_calibration
from rcm_cascade.pictures.figure import INK
from rcm_cascade.report.figures import (
    COLORS,
    PALE,
    Look,
    dot_figure,
    gradient_curves,
    gradient_figure,
    learning_figure,
    looks,
    loss_curves,
    reliability_picture,
    sensitivity_curves,
)

A, B = Look("model.levels=2", COLORS[0], "-"), Look("loss=$x$ & <b>", COLORS[1], "-")
NONE = None, None

Dot = tuple[float | None, Interval]


def drawn(
    panels: dict[str, dict[str, Dot]],
    shown: list[Look],
    lines: Mapping[str, float | None] | None = None,
    title: str = "",
) -> str | None:
    rows = [
        (panel, label, value, *(interval or (None, None)))
        for panel, dots in panels.items()
        for label, (value, interval) in dots.items()
    ]
    table = pd.DataFrame(rows, columns=["panel", "configuration", "value", "low", "high"])
    return dot_figure(table, shown, lines or dict.fromkeys(panels), title)


def svg(source: str | None) -> str:
    assert source is not None
    head, data = source.split(",")
    assert head == "data:image/svg+xml;base64"
    text = base64.b64decode(data).decode()
    ET.fromstring(text)
    return text


HISTORY: list[dict[str, float | str | None]] = [
    {"step": 0, "train/loss": 3.0, "train/loss_level1": "3.5", "train/loss_level2": 2.5, "train/grad_norm_level1": 2},
    {"step": 10, "train/loss": 2.0, "train/loss_level1": 2.5, "train/loss_level2": 1.5, "train/grad_norm_level1": 1},
    {
        "step": 10,
        "val/mean_sensitivity": 0.4,
        "val/sensitivity_nested": 0.9,
        "val/sensitivity_ring": "",
        "train/loss": None,
    },
    {"step": 20, "val/mean_sensitivity": 0.5, "val/sensitivity_nested": 0.8, "val/sensitivity_ring": "nan"},
]


def test_curves_are_drawn_for_what_the_history_holds() -> None:
    loss, gradient, sensitivity = (
        svg(source)
        for source in (loss_curves(HISTORY), gradient_curves(HISTORY), sensitivity_curves(HISTORY, RCM_CLASSES))
    )
    for name in ("total", "level 1 (coarsest)", "level 2 (finest)", "training step"):
        assert f"<!-- {name} -->" in loss  # matplotlib draws letters as outlines and names them in a comment
    assert "<!-- level 1 -->" in gradient
    assert "total" not in gradient
    for name in ("nested", "ring", "mean"):
        assert f"<!-- {name} -->" in sensitivity
    assert "#e6194b" in sensitivity


def test_no_value_no_curve_and_epochs_where_there_are_no_steps() -> None:
    empty: list[dict[str, float | str | None]] = [{"step": 1, "val/mean_sensitivity": "", "train/loss": "nan"}]
    assert loss_curves(empty) is gradient_curves(empty) is sensitivity_curves(empty, RCM_CLASSES) is None
    assert loss_curves([]) is None
    assert "<!-- epoch -->" in svg(loss_curves([{"epoch": 0, "train/loss": 1.0}, {"epoch": 1, "train/loss": 0.5}]))


def test_many_values_are_smoothed_and_a_zero_gradient_is_drawn_linearly() -> None:
    rng = np.random.default_rng(0)
    long: list[dict[str, float | str | None]] = [{"step": i, "train/loss": rng.random()} for i in range(300)]
    assert svg(loss_curves(long)).count("opacity: 0.18") == 1
    assert "opacity: 0.18" not in svg(loss_curves(long[:50]))
    zero: list[dict[str, float | str | None]] = [{"step": i, "train/grad_norm_level1": float(i)} for i in range(5)]
    svg(gradient_curves(zero))


def test_the_same_history_gives_the_same_bytes() -> None:
    assert loss_curves(HISTORY) == loss_curves(HISTORY)


def test_the_reference_is_black_and_the_others_differ() -> None:
    made = looks([str(i) for i in range(17)], "3")
    assert made[3] == Look("3", INK, "-")
    assert len({(look.color, look.dash) for look in made}) == 17
    assert [look.label for look in made] == [str(i) for i in range(17)]


def test_dots_are_filled_where_different_from_zero_and_hollow_where_not() -> None:
    different, alike = (0.2, (0.1, 0.3)), (0.1, (-0.1, 0.3))
    panels: dict[str, dict[str, Dot]] = {
        "mean": {A.label: different, B.label: alike},
        "ring": {A.label: NONE, B.label: different},
    }
    zero = dict.fromkeys(panels, 0.0)
    text = svg(drawn(panels, [A, B], zero, "difference of Dice"))
    assert f"fill: {A.color}" in text
    hollow = svg(drawn({"mean": {A.label: alike}}, [A], zero, "x"))
    assert f"fill: {A.color}" not in hollow
    assert f"stroke: {A.color}" in hollow
    crossed = svg(drawn({"mean": {A.label: (0.1, None)}}, [A], zero, "x"))
    assert "stroke-width: 2.2" in hollow  # the interval's line
    assert "stroke-width: 2.2" not in crossed
    assert f"stroke: {A.color}" in crossed
    assert text == svg(drawn(panels, [A, B], zero, "difference of Dice"))
    assert drawn({"mean": {A.label: NONE}}, [A], zero, "x") is None
    assert drawn({"mean": {}}, [], {}, "x") is None


def test_more_classes_than_columns_wrap() -> None:
    seven: dict[str, dict[str, Dot]] = {f"c{i}": {A.label: (0.1, None)} for i in range(7)}
    assert svg(drawn(seven, [A], {}, "x")).count("axes_") >= 7


def test_curves_are_a_line_a_seed_or_points() -> None:
    curves = [np.array([[60.0 * s, s, 0.1 * s * k] for s in range(1, 5)]) for k in (1, 2)]
    text, single = (svg(learning_figure({A.label: c}, [A, B], "score")) for c in (curves, [curves[0][:1]]))
    assert text.count(f"stroke: {A.color}") == 3  # two seeds, and the legend
    assert B.color not in text
    assert A.color in single
    assert "<use" in single
    assert learning_figure({A.label: [np.zeros((0, 3))]}, [A], "score") is None


def test_regions_are_dots_beside_the_truth() -> None:
    panels: dict[str, dict[str, Dot]] = {"regions": {A.label: (3.0, (2.5, 3.5)), B.label: NONE}}
    with_truth = svg(drawn(panels, [A, B], {"regions": 1.5}))
    without = svg(drawn(panels, [A, B], {}))
    assert A.color in with_truth
    assert B.color not in with_truth
    assert "stroke-dasharray" in with_truth
    assert "stroke-dasharray" not in without


def test_a_legend_of_many_configurations_fits() -> None:
    curves = [np.array([[60.0 * s, s, 0.1 * s] for s in range(1, 5)])]
    many = looks([f"model.levels={i}, model.prior=softmax, loss.dice={i}" for i in range(24)], "")
    text = svg(learning_figure({look.label: curves for look in many}, many, "score"))
    height = float(text.split('viewBox="0 0 ')[1].split('"')[0].split()[1])
    legend = text[text.index('id="legend_1"') :]
    placed = [float(y) for y in re.findall(r"translate\(\S+ (\S+)\) scale\(0\.\d+ -", legend)]
    assert len(placed) > 24
    assert 0 < min(placed) < max(placed) < height


@pytest.mark.parametrize("value", ["a" * 90, "model.levels=2, " * 6])
def test_long_labels_are_wrapped(value: str) -> None:
    look = Look(value, INK, "-")
    svg(drawn({"mean": {value: (0.1, (0.0, 0.2))}}, [look], {}, "x"))


def test_gradients_of_levels_of_different_depth_fit_one_grid() -> None:
    rows = [
        (A.label, 1, "encoder1", 0.1, 0.2),
        (A.label, 2, "encoder1", 1.0, 0.5),
        (A.label, 2, "encoder2", 1e-5, 0.0),
        (B.label, 1, "head", 0.3, 0.3),
    ]
    keys = ["configuration", "level", "stage"]
    norms = pd.DataFrame(rows, columns=[*keys, "first_third", "all_epochs"]).set_index(keys)
    text = svg(gradient_figure(norms))
    assert "QuadMesh" in text
    assert text.count("<!-- over all epochs -->") == 1
    assert gradient_figure(norms[:0]) is None
    svg(gradient_figure(0 * norms[-1:]))


def reliability(temperature: float) -> str:
    rng = np.random.default_rng(0)
    sample = LogitSample(rng.normal(0, 3, (400, 4)).astype(np.float32), rng.integers(0, 4, 400).astype(np.uint8))
    source = reliability_picture(measure_calibration(sample, temperature))
    text = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
    ET.fromstring(text)
    return text


def test_both_diagrams_name_their_error() -> None:
    text = reliability(3.0)
    assert "<!-- as trained: calibration error 0." in text  # matplotlib names the letters that it outlines
    assert "<!-- at temperature 3.00: calibration error 0." in text
    assert text.count("<!-- confidence -->") == 2
    assert text.count("<!-- accuracy -->") == 1


def test_where_no_temperature_was_fitted_there_is_one_diagram() -> None:
    text = reliability(1.0)
    assert text.count("<!-- confidence -->") == 1
    assert "at temperature" not in text


def test_the_accuracy_of_a_nearly_empty_bin_is_not_drawn() -> None:
    def bars(few: int) -> int:
        """Bars of the diagram, for confidences of about .99 and, of a few pixels, .51."""
        logits = np.repeat(np.array([[5.0, 0.4], [0.02, 0.0]], np.float32), (2000, few), axis=0)
        numbers = measure_calibration(LogitSample(logits, np.zeros(len(logits), np.uint8)), 1.0)
        text = base64.b64decode(reliability_picture(numbers).removeprefix("data:image/svg+xml;base64,")).decode()
        return text.count(f"fill: {PALE}")

    assert bars(3) == 2
    assert bars(1) == 1


def test_the_same_calibration_gives_the_same_bytes() -> None:
    assert reliability(2.0) == reliability(2.0) != reliability(2.5)
