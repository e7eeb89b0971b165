from dataclasses import astuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from experiments.phantom.texture import AreaTexture, measure_area, measure_mosaic
from rcm_cascade.data.resample import ResolutionWarning, area_resample
from rcm_cascade.errors import InputError

SIDE = 300  # px of 8 µm: 2.4 mm


def grey(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


def blurred_noise(side: int = SIDE, sigma: float = 1.0, spread: float = 12.0, seed: int = 0) -> NDArray[np.float64]:
    """Noise of standard deviation ``spread`` around 100."""
    values = gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), sigma)
    noise: NDArray[np.float64] = 100 + spread * values / values.std()
    return noise


def power_law(slope: float, side: int = 512, seed: int = 0) -> NDArray[np.float64]:
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((side, side))) * frequency ** (slope / 2)
    values = np.fft.ifft2(spectrum).real
    noise: NDArray[np.float64] = 100 + 25 * values / values.std()
    return noise


def whole(image: NDArray[np.uint8], pixel_size_um: float = 8.0) -> AreaTexture:
    found = measure_area(image, np.ones(image.shape, bool), pixel_size_um)
    assert found is not None
    return found


def test_grey_levels() -> None:
    image = np.full((SIDE, SIDE), 100, np.uint8)
    image[:, :30] = 11
    image[:, 30:36] = 250
    image[:, 36:39] = 12
    found = measure_mosaic(image, 8.0)
    assert (found.black, found.saturated) == (0.1, 0.02)
    assert found.percentiles == (11, 100, 100, 100, 100, 250)


def test_steps_between_fields_are_found() -> None:
    edges = np.rint(np.arange(5) * 62.5).astype(int)
    image = np.zeros((250, 262))  # the last 12 columns belong to no whole field
    fields = np.array([[60, 100, 60, 100]] * 4)
    for row in range(4):
        for column in range(4):
            image[edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = fields[row, column]
    image[:, 250:] = 100
    image[:, ::2] += 1  # so that the gradient elsewhere is 1
    found = measure_mosaic(grey(image), 8.0)
    assert found.field_variation == pytest.approx(20 / 80, abs=0.005)
    assert found.field_step == pytest.approx(40 / 80, abs=0.005)
    # of the four seams, the last before the cut field has no step
    assert found.seam == pytest.approx((41 + 39 + 41 + 1) / 4, abs=1)
    rolled = np.roll(image, 20, axis=1)  # steps that are not at the seams
    assert measure_mosaic(grey(rolled), 8.0).seam < 1.5


def test_even_mosaics_have_no_seams() -> None:
    assert measure_mosaic(grey(blurred_noise()), 8.0).seam == pytest.approx(1.03, abs=0.05)


@pytest.mark.parametrize("slope", [-1.5, -2.5, -3.7])
def test_slope_of_a_power_law(slope: float) -> None:
    # cut, so that opposite borders do not fit: without a window -3.7 comes out as -3.1
    image = grey(power_law(slope))[50:400, :300]
    assert measure_mosaic(image, 8.0).slope == pytest.approx(slope, abs=0.15)


def test_blurred_noise_has_the_autocorrelation_of_its_blur() -> None:
    found = whole(grey(blurred_noise(500, sigma=1.5)))
    # mean of exp(-r² / 4σ²) over the pixels that each lag's ring holds: 1, √2 | 2, √5, … px away
    expected = []
    offsets = np.arange(-7, 8)
    distance = np.hypot(offsets[:, None], offsets[None])
    for lag in (1, 2, 3, 5):
        expected.append(float(np.exp(-(distance[np.rint(distance) == lag] ** 2) / 9).mean()))
    assert found.autocorrelation == pytest.approx(expected, abs=0.03)
    assert found.variation == pytest.approx(0.12, abs=0.005)
    assert found.skew == pytest.approx(0, abs=0.1)


def test_a_lattice_dips_and_irregular_spots_do_not() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    pitch = 15  # px: 120 µm
    lattice = 100 * (1 + 0.2 * np.cos(2 * np.pi * x / pitch) + 0.2 * np.cos(2 * np.pi * y / pitch))
    found = whole(grey(lattice))
    assert found.first_minimum < -0.2
    assert found.first_minimum_um == pytest.approx(0.61 * 120, abs=12)  # J0's first minimum, at 3.83 / 2π of a pitch
    assert -0.05 < whole(grey(power_law(-2.2))).first_minimum < 0


def test_where_no_pixels_are_far_apart_there_is_no_minimum() -> None:
    y, x = np.mgrid[:1150, :1150]
    pieces = np.maximum(y % 46, x % 46) < 5  # of 40 µm, farther apart than the search reaches
    found = measure_area(grey(blurred_noise(1150, sigma=3)), pieces, 8.0)
    assert found is not None
    assert found.autocorrelation[0] > found.autocorrelation[1] > 0
    assert found.first_minimum == 0
    assert np.isnan(found.first_minimum_um)


def test_the_fine_band_sees_small_spots_by_their_sign() -> None:
    rng = np.random.default_rng(0)
    spots = gaussian_filter((rng.random((SIDE, SIDE)) < 0.01).astype(float), 1) * 600
    bright, dark = whole(grey(100 + spots)), whole(grey(160 - spots))
    assert bright.fine_skew > 1
    assert dark.fine_skew < -1
    slow = whole(grey(blurred_noise(sigma=10)))
    assert slow.fine_spread < 0.02 < bright.fine_spread


def test_slow_brightness_is_divided_out() -> None:
    image = blurred_noise(spread=10)
    ramp = np.linspace(0.5, 1.5, SIDE)
    plain, shaded = whole(grey(image)), whole(grey(image * ramp))
    assert np.std(image * ramp) > 2 * np.std(image)
    assert shaded.variation == pytest.approx(plain.variation, rel=0.1)


def test_what_is_outside_the_mask_does_not_count() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = (x // 20 + y // 50) % 2 == 0
    mask[:7] = False
    inside = blurred_noise()
    texture = [
        measure_area(grey(np.where(mask, inside, outside)), mask, 8.0) for outside in (0, 255, blurred_noise(seed=1))
    ]
    assert texture[0] == texture[1] == texture[2]
    assert texture[0] is not None
    assert texture[0].area_mm2 == pytest.approx(mask.sum() * 64e-6)
    everywhere = whole(grey(inside))
    assert np.allclose(astuple(everywhere)[2:6], astuple(texture[0])[2:6], atol=0.03)
    assert texture[0].autocorrelation == pytest.approx(everywhere.autocorrelation, abs=0.03)


def test_the_same_scene_at_two_pixel_sizes() -> None:
    fine = grey(power_law(-2.2, side=1024) + 30 * (blurred_noise(1024, sigma=4) - 100) / 12)
    mask = gaussian_filter(np.random.default_rng(5).standard_normal(fine.shape), 60) > 0
    coarse, coarse_mask = area_resample(fine, 4.0, 8.0), mask[::2, ::2]
    assert coarse.shape == (512, 512)
    at_4, at_8 = measure_mosaic(fine, 4.0), measure_mosaic(coarse, 8.0)
    assert at_4 == at_8
    area_4, area_8 = measure_area(fine, mask, 4.0), measure_area(coarse, coarse_mask, 8.0)
    assert area_4 is not None
    assert area_8 is not None
    assert area_4.variation > 0.15  # there is something to measure
    assert area_4.area_mm2 == pytest.approx(mask.sum() * 16e-6, rel=0.003)
    for name in ("percentiles", "variation", "skew", "fine_spread", "fine_skew", "autocorrelation"):
        assert getattr(area_4, name) == pytest.approx(getattr(area_8, name), rel=0.02, abs=0.01), name
    assert area_4.first_minimum == pytest.approx(area_8.first_minimum, abs=0.005)
    odd = area_resample(fine, 4.0, 4.9)  # no whole number of pixels makes one of 8 µm
    assert measure_mosaic(odd, 4.9).slope == pytest.approx(at_8.slope, abs=0.15)


def test_coarse_mosaics_warn() -> None:
    with pytest.warns(ResolutionWarning, match="adds no detail"):
        measure_mosaic(grey(blurred_noise()), 12.0)


def test_small_or_even_areas_have_no_figures() -> None:
    image = grey(blurred_noise())
    mask = np.zeros(image.shape, bool)
    mask[:124, :125] = True  # 0.992 mm²
    assert measure_area(image, mask, 8.0) is None
    mask[124] = True
    assert measure_area(image, mask, 8.0) is not None
    assert measure_area(np.full_like(image, 7), mask, 8.0) is None
    assert measure_area(np.zeros_like(image), mask, 8.0) is None


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"mosaic is 0\.992 × 2\.4 mm with grey levels .* at least 1 mm a side"):
        measure_mosaic(grey(blurred_noise())[:124], 8.0)
    with pytest.raises(InputError, match=r"grey levels 5–5; expected .* more than one grey level: leave it out"):
        measure_mosaic(np.full((SIDE, SIDE), 5, np.uint8), 8.0)
    with pytest.raises(ValueError, match=r"image is \(300, 300\) and mask is \(300, 299\)"):
        measure_area(grey(blurred_noise()), np.ones((SIDE, SIDE - 1), bool), 8.0)
