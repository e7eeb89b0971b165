import numpy as np
import pytest

from rcm_cascade.phantom.fields import Field, Grid, blur, noise, step


def ramp(height: int, width: int, pitch_um: float) -> Field:
    grid = Grid(height, width, pitch_um)
    y, x = ((np.arange(n, dtype=np.float32) + 0.5) * pitch_um for n in (height, width))
    return Field(3 * y[:, None] + x[None], grid)


@pytest.mark.parametrize("pitch_um", [0.7, 2.0, 5.0, 13.0])
def test_a_field_is_read_at_the_same_place_at_any_pitch(pitch_um: float) -> None:
    field = ramp(40, 60, 10)
    target = Grid.covering((400, 600), pitch_um)
    values = field.on(target)
    inner = slice(round(20 / pitch_um) + 1, -round(20 / pitch_um) - 1)
    np.testing.assert_allclose(values[inner, inner], ramp(*target.shape, pitch_um).values[inner, inner], atol=2)


def test_parts_are_cut_from_the_whole() -> None:
    field = noise(np.random.default_rng(0), (500, 700), 60)
    target = Grid.covering((500, 700), 4)
    whole = field.on(target)
    assert whole.std() > 0.3
    part = field.on(target, slice(33, 71), slice(50, 120))
    np.testing.assert_allclose(part, whole[33:71, 50:120], atol=0.05)


def test_a_shift_reads_farther_down_and_right() -> None:
    field = ramp(40, 60, 10)
    target = Grid.covering((400, 600), 5)
    moved = field.on(target, slice(20, 30), slice(20, 30), (10.0, 4.0))
    np.testing.assert_allclose(moved - field.on(target, slice(20, 30), slice(20, 30)), 34, atol=1)


@pytest.mark.parametrize("scale_um", [9.0, 60.0])
def test_noise_has_unit_spread_and_its_scale(scale_um: float) -> None:
    values = noise(np.random.default_rng(0), (2000, 2000), scale_um).values.astype(np.float64)
    assert values.mean() == pytest.approx(0, abs=0.15)
    assert values.std() == pytest.approx(1, abs=0.1)
    pitch = scale_um / 2
    lag = round(scale_um / pitch)
    assert (values[lag:] * values[:-lag]).mean() == pytest.approx(np.exp(-1), abs=0.12)


def test_wide_blurs_agree_with_repeated_narrow_ones() -> None:
    white = np.random.default_rng(0).standard_normal((300, 300), np.float32)
    wide, narrow = blur(white, 16.0), white
    for _ in range(4):
        narrow = blur(narrow, 8.0)
    assert np.corrcoef(wide[50:-50, 50:-50].reshape(-1), narrow[50:-50, 50:-50].reshape(-1))[0, 1] > 0.95
    assert blur(white, 0.1) is white


def test_a_step_is_half_at_its_edge() -> None:
    np.testing.assert_allclose(step(np.array([-9, 2, 9], np.float32), 2, 0.5), [0, 0.5, 1], atol=1e-5)
