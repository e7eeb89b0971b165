import base64
import xml.etree.ElementTree as ET

import numpy as np

from rcm_cascade.evaluate.calibration import Sample, measure_calibration
from rcm_cascade.report.reliability import PALE, reliability_picture


def svg(temperature: float) -> str:
    rng = np.random.default_rng(0)
    sample = Sample(rng.normal(0, 3, (400, 4)).astype(np.float32), rng.integers(0, 4, 400).astype(np.uint8))
    source = reliability_picture(measure_calibration(sample, temperature))
    text = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
    ET.fromstring(text)
    return text


def test_both_diagrams_name_their_error() -> None:
    text = svg(3.0)
    assert "<!-- as trained: calibration error 0." in text  # matplotlib names the letters that it outlines
    assert "<!-- at temperature 3.00: calibration error 0." in text
    assert text.count("<!-- confidence -->") == 2
    assert text.count("<!-- accuracy -->") == 1


def test_where_no_temperature_was_fitted_there_is_one_diagram() -> None:
    text = svg(1.0)
    assert text.count("<!-- confidence -->") == 1
    assert "at temperature" not in text


def test_the_accuracy_of_a_nearly_empty_bin_is_not_drawn() -> None:
    def bars(few: int) -> int:
        """Bars of the diagram, for confidences of about .99 and, of a few pixels, .51."""
        logits = np.repeat(np.array([[5.0, 0.4], [0.02, 0.0]], np.float32), (2000, few), axis=0)
        numbers = measure_calibration(Sample(logits, np.zeros(len(logits), np.uint8)), 1.0)
        text = base64.b64decode(reliability_picture(numbers).removeprefix("data:image/svg+xml;base64,")).decode()
        return text.count(f"fill: {PALE}")

    assert bars(3) == 2
    assert bars(1) == 1


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert svg(2.0) == svg(2.0) != svg(2.5)
