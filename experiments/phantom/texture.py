"""The texture of mosaics and of areas in them, as numbers by which phantoms are held against real skin.

Everything is measured after area averaging to `PIXEL_UM`, so that mosaics of any pixel size compare. The figures are
those of texture.md beside this file.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import find_objects, gaussian_filter
from scipy.stats import skew

from rcm_cascade.data.resample import area_resample, resize_image
from rcm_cascade.errors import InputError

PIXEL_UM: Final = 8.0
"""µm per pixel at which everything is measured."""

FIELD_UM: Final = 500.0
"""Side of the instrument's fields, of which the first begins at the mosaic's top left corner."""

MOSAIC_PERCENTILES: Final = (5, 25, 50, 75, 95, 99)
AREA_PERCENTILES: Final = (5, 50, 95)

BLACK_BELOW, SATURATED_FROM = 12, 250

WAVELENGTHS_PX: Final = (2.5, 75.0)
"""Between these the power spectrum's slope is fitted, px of `PIXEL_UM`."""

LOCAL_SIGMA_UM: Final = 100.0
"""Standard deviation of the Gaussian window of the local mean.

Narrower ones level the patterns themselves: on a power-law noise of slope −2.44, that of real mosaics C and D, the
autocorrelation at 40 µm is .33 with 100 µm, .12 with 50 µm and −.02 with a square of 100 µm; real areas have .33, .40.
"""

FINE_BAND_UM: Final = (8.0, 24.0)
"""Standard deviations of the two Gaussians whose difference is the fine band."""

LAGS_UM: Final = (8, 16, 24, 40)
"""Where the autocorrelation is read."""

SMALLEST_MM2: Final = 1.0
"""Smaller areas hold too few pairs of pixels for an autocorrelation."""

_FARTHEST_PX: Final = 37  # the first minimum is sought up to here, 296 µm
_CLEAR_PX: Final = 3  # a minimum is the lowest this far on either side; noise makes narrower ones

Float = NDArray[np.float64]


@dataclass(frozen=True)
class MosaicTexture:
    """Figures of a whole mosaic.

    Args:
        percentiles: grey levels, at `MOSAIC_PERCENTILES`.
        black: share of pixels below `BLACK_BELOW`.
        saturated: share of pixels from `SATURATED_FROM`.
        field_variation: coefficient of variation of the fields' means.
        field_step: mean absolute step between horizontally adjacent fields, over the mean.
        seam: gradient at the seams between fields over that elsewhere: of the columns' mean absolute differences, the
            mean over seams of the largest within ±1 column, over the median.
        slope: of the radial power spectrum, log over log, after a Hann window.
    """

    percentiles: tuple[float, ...]
    black: float
    saturated: float
    field_variation: float
    field_step: float
    seam: float
    slope: float


@dataclass(frozen=True)
class AreaTexture:
    """Figures of an area; below the percentiles, of the intensity divided by its local mean inside the area.

    Args:
        area_mm2: the area.
        percentiles: grey levels, at `AREA_PERCENTILES`.
        variation: coefficient of variation.
        skew: skewness.
        fine_spread: standard deviation of the fine band.
        fine_skew: its skewness.
        autocorrelation: radial, at `LAGS_UM`; NaN where no two pixels of the area are that far apart.
        first_minimum: of the autocorrelation; 0 where there is none up to 300 µm.
        first_minimum_um: at which distance; NaN where there is none.
    """

    area_mm2: float
    percentiles: tuple[float, ...]
    variation: float
    skew: float
    fine_spread: float
    fine_skew: float
    autocorrelation: tuple[float, ...]
    first_minimum: float
    first_minimum_um: float


def measure_mosaic(image: NDArray[np.uint8], pixel_size_um: float) -> MosaicTexture:
    """Figures of a whole mosaic.

    Fields that the right or lower border cuts are left out of the fields' figures.

    Args:
        image: grey levels ``(H, W)``.
        pixel_size_um: µm per pixel; coarser than `PIXEL_UM` warns, see `area_resample`.

    Raises:
        InputError: if the image has not two whole fields a side, or one grey level only.
    """
    grey = area_resample(image, pixel_size_um, PIXEL_UM)
    rows, columns = (_field_edges(side) for side in grey.shape)
    if min(len(rows), len(columns)) < 3 or grey.min() == grey.max():
        height, width = (side * pixel_size_um / 1000 for side in image.shape)
        raise InputError(
            f"mosaic is {height:.3g} × {width:.3g} mm with grey levels {grey.min()}–{grey.max()}; expected at least "
            f"{2 * FIELD_UM / 1000:g} mm a side and more than one grey level: leave it out"
        )
    values = grey.astype(np.float64)
    fields = _block_means(values, rows, columns)
    return MosaicTexture(
        percentiles=_percentiles(grey, MOSAIC_PERCENTILES),
        black=float((grey < BLACK_BELOW).mean()),
        saturated=float((grey >= SATURATED_FROM).mean()),
        field_variation=float(fields.std() / fields.mean()),
        field_step=float(np.abs(np.diff(fields, axis=1)).mean() / fields.mean()),
        seam=_seam_ratio(values, columns),
        slope=_spectral_slope(values),
    )


def measure_area(image: NDArray[np.uint8], mask: NDArray[np.bool_], pixel_size_um: float) -> AreaTexture | None:
    """Figures of an area, of any shape and in any number of pieces.

    The local mean is a normalised convolution with a Gaussian of `LOCAL_SIGMA_UM`: pixels outside the area do not
    count, nor do they in the fine band and the autocorrelation.

    Args:
        image: grey levels ``(H, W)``.
        mask: True inside the area, ``(H, W)``.
        pixel_size_um: µm per pixel; coarser than `PIXEL_UM` warns, see `area_resample`.

    Returns:
        None for an area that is smaller than `SMALLEST_MM2` or has one grey level only.

    Raises:
        ValueError: if the shapes differ.
    """
    if image.shape != mask.shape:
        raise ValueError(f"image is {image.shape} and mask is {mask.shape}; expected one shape (H, W)")
    grey = area_resample(image, pixel_size_um, PIXEL_UM)
    inside = resize_image(mask.astype(np.uint8) * 255, (grey.shape[0], grey.shape[1])) > 127
    area_mm2 = int(inside.sum()) * PIXEL_UM**2 / 1e6
    if area_mm2 < SMALLEST_MM2:
        return None
    box = find_objects(inside.astype(np.uint8))[0]
    grey, inside = grey[box], inside[box]
    if np.ptp(grey[inside]) == 0:
        return None
    weights = inside.astype(np.float64)
    local = _mean_inside(grey * weights, weights, LOCAL_SIGMA_UM)
    relative = weights * grey / np.maximum(local, 1)
    values = relative[inside]
    small, large = (_mean_inside(relative, weights, sigma) for sigma in FINE_BAND_UM)
    fine = (small - large)[inside]
    profile = _autocorrelation(weights * (relative - values.mean()), weights, _FARTHEST_PX + _CLEAR_PX)
    minimum, at_um = _first_minimum(profile)
    return AreaTexture(
        area_mm2=area_mm2,
        percentiles=_percentiles(grey[inside], AREA_PERCENTILES),
        variation=float(values.std() / values.mean()),
        skew=float(skew(values)),
        fine_spread=float(fine.std()),
        fine_skew=float(skew(fine)),
        autocorrelation=tuple(float(profile[round(lag / PIXEL_UM)]) for lag in LAGS_UM),
        first_minimum=minimum,
        first_minimum_um=at_um,
    )


def _percentiles(grey: NDArray[np.uint8], which: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.percentile(grey, which))


def _field_edges(side: int) -> NDArray[np.int64]:
    """Where whole fields begin and end along a side, px."""
    count = math.floor(side * PIXEL_UM / FIELD_UM + 1e-9)
    edges: NDArray[np.int64] = np.rint(np.arange(count + 1) * FIELD_UM / PIXEL_UM).astype(np.int64)
    return edges


def _block_means(values: Float, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Float:
    whole = values[: rows[-1], : columns[-1]]
    sums = np.add.reduceat(np.add.reduceat(whole, rows[:-1], axis=0), columns[:-1], axis=1)
    means: Float = sums / np.outer(np.diff(rows), np.diff(columns))
    return means


def _seam_ratio(values: Float, columns: NDArray[np.int64]) -> float:
    gradient = np.abs(np.diff(values, axis=1)).mean(0)  # entry j lies between columns j and j + 1
    inner = columns[(columns > 0) & (columns < values.shape[1])]
    peaks = [gradient[max(0, seam - 2) : seam + 1].max() for seam in inner]
    return float(np.mean(peaks)) / (float(np.median(gradient)) or math.nan)


def _spectral_slope(values: Float) -> float:
    height, width = values.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    mean = (values * window).sum() / window.sum()
    power = np.abs(fft.rfft2((values - mean) * window)) ** 2
    frequency = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None])
    edges = np.geomspace(1 / WAVELENGTHS_PX[1], 1 / WAVELENGTHS_PX[0], 20)
    bins = np.digitize(frequency.ravel(), edges)
    counts = np.bincount(bins, minlength=len(edges) + 1)[1:-1]
    sums = np.bincount(bins, power.ravel(), minlength=len(edges) + 1)[1:-1]
    held = counts > 0
    middles = np.sqrt(edges[1:] * edges[:-1])[held]
    return float(np.polyfit(np.log(middles), np.log(sums[held] / counts[held]), 1)[0])


def _mean_inside(weighted: Float, weights: Float, sigma_um: float) -> Float:
    """Gaussian mean of what has weight; ``weighted`` is 0 elsewhere."""
    sigma = sigma_um / PIXEL_UM
    total = gaussian_filter(weighted, sigma, mode="constant")
    count = gaussian_filter(weights, sigma, mode="constant")
    mean: Float = total / np.maximum(count, 1e-9)
    return mean


def _autocorrelation(deviation: Float, weights: Float, farthest: int) -> Float:
    """Radial profile at whole lags 0 … ``farthest`` px: the mean product over pairs inside, over that at lag 0.

    NaN where no two pixels are that far apart.
    """
    # padded by the farthest lag, so that no pair is one across the border
    shape = tuple(fft.next_fast_len(side + farthest, real=True) for side in weights.shape)
    sums, pairs = (fft.irfft2(np.abs(fft.rfft2(part, shape)) ** 2, shape) for part in (deviation, weights))
    lags = np.arange(-farthest, farthest + 1)
    radius = np.rint(np.hypot(lags[:, None], lags[None])).astype(np.int64).ravel()
    near = np.ix_(lags % shape[0], lags % shape[1])
    products = np.bincount(radius, sums[near].ravel())[: farthest + 1]
    counts = np.bincount(radius, np.rint(pairs[near]).ravel())[: farthest + 1]
    profile = np.where(counts > 0, products, math.nan) / np.maximum(counts, 1)
    relative: Float = profile / profile[0]
    return relative


def _first_minimum(profile: Float) -> tuple[float, float]:
    """Value and distance in µm of the first lag that is the lowest within ±24 µm, after smoothing over three lags."""
    smooth = profile.copy()
    smooth[1:-1] = (profile[:-2] + 2 * profile[1:-1] + profile[2:]) / 4
    for lag in range(1, _FARTHEST_PX + 1):
        if smooth[lag] <= smooth[max(0, lag - _CLEAR_PX) : lag + _CLEAR_PX + 1].min():
            return float(smooth[lag]), lag * PIXEL_UM
    return 0.0, math.nan
