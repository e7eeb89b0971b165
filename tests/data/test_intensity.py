import numpy as np
import pytest
import torch

from rcm_cascade.data import intensity as intensity_module
from rcm_cascade.data.intensity import count_values, measure, normalise, to_uint8


def test_uint8_is_left_alone() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.shares_memory(to_uint8(image), image)


def test_uint16_is_stretched_between_its_quantiles() -> None:
    image = np.linspace(1000, 5000, 100_000).astype(np.uint16).reshape(100, 1000)
    grey = to_uint8(image)
    assert (grey.min(), grey.max()) == (0, 255)
    assert np.all(np.diff(grey.reshape(-1).astype(int)) >= 0)
    assert abs(int(np.median(grey)) - 127) <= 1


def test_a_hot_pixel_does_not_darken_a_16_bit_mosaic() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(100, 200, (200, 200)).astype(np.uint16)
    image[0, 0] = 65535
    assert to_uint8(image).mean() > 100


def test_a_constant_16_bit_image() -> None:
    assert len(np.unique(to_uint8(np.full((4, 4), 777, np.uint16)))) == 1


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        to_uint8(np.zeros((2, 2), np.float32))  # type: ignore[arg-type]


def test_measure_is_mean_and_spread_and_normalise_uses_them() -> None:
    image = np.random.default_rng(0).integers(0, 256, (301, 203)).astype(np.uint8)
    intensity = measure(image)
    assert intensity.offset == pytest.approx(image.mean(), rel=1e-12)
    assert intensity.scale == pytest.approx(image.std(), rel=1e-12)
    values = normalise(torch.from_numpy(image).double(), intensity.offset, intensity.scale)
    assert float(values.mean()) == pytest.approx(0, abs=1e-12)
    assert float(values.std(correction=0)) == pytest.approx(1)


def test_constant_images_and_no_normalisation() -> None:
    assert measure(np.full((3, 3), 9, np.uint8)).scale == 1
    assert measure(np.full((3, 3), 9, np.uint8), "none").scale == 255


@pytest.mark.parametrize("strip", [1, 100, 2**22])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_every_value_is_counted(strip: int, dtype: type[np.uint8 | np.int32], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity_module, "STRIP_PIXELS", strip)
    labels = np.random.default_rng(0).integers(0, 256, (37, 53), dtype=dtype)
    for map_ in (labels, labels[::2, 1::3]):
        counts = count_values(map_)
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, np.bincount(map_.reshape(-1), minlength=256))
