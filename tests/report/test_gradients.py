from rcm_cascade.report.gradients import gradient_figure
from tests.report.test_comparison_figures import A, B, svg


def test_gradients_of_levels_of_different_depth_fit_one_grid() -> None:
    deep = {(1, "encoder1"): (0.1, 0.2), (2, "encoder1"): (1.0, 0.5), (2, "encoder2"): (1e-5, 0.0)}
    text = svg(gradient_figure({A.label: deep, B.label: {(1, "head"): (0.3, 0.3)}, "none": {}}))
    assert "<image" in text
    assert gradient_figure({"none": {}}) is None
    svg(gradient_figure({A.label: {(1, "head"): (0.0, 0.0)}}))
