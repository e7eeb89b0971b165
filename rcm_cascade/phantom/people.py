"""Patients and sites: what makes two mosaics of one person, or of one microscope, alike."""

from dataclasses import dataclass

import numpy as np

PATIENT_STREAM, SITE_STREAM = 2, 3


@dataclass(frozen=True)
class Site:
    """A microscope and the hands that use it.

    Args:
        name: ``"s0"``, ``"s1"``, …
        gain: brightness, around 1.
        field_spread: standard deviation of the logarithm of a field's brightness.
        vignetting: brightness lost at a field's corner, ``[0, 1]``.
        psf_um: standard deviation of the point spread, µm.
        speckle: contrast of the speckle at its own grain, ``[0, 1]``.
        grain: contrast of a coarser grain, that pixels of 8 µm still show, ``[0, 1]``.
        black: grey levels cut off at the dark end.
    """

    name: str
    gain: float
    field_spread: float
    vignetting: float
    psf_um: float
    speckle: float
    grain: float
    black: float


@dataclass(frozen=True)
class Patient:
    """One person's skin.

    Args:
        name: ``"p000"``, ``"p001"``, …
        site: where the person was imaged.
        gain: brightness, around 1.
        contrast: exponent of the tissue's reflectance, around 1.
        scale: of all patterns, around 1.
        bead: brightness of ring outlines, around 1.
        wrinkle_direction: radians; 0 runs along the rows, pi / 2 down the columns.
        wrinkle_density: mm of wrinkle line a mm², 1 to 6.
        wrinkle_width: of the lines, around 1.
        spindles: share of the wrinkles that widen into spindles, 0 to 1.
        follicles: pits a mm², 0.02 to 2 (1.4 on follicular skin).
        openings: bright lozenges a mm², 0 to 1.5.
        ducts: eccrine ducts a mm², 0.4 to 2.5.
        hairs: shafts a mm², 0 to 0.3.
    """

    name: str
    site: Site
    gain: float
    contrast: float
    scale: float
    bead: float
    wrinkle_direction: float
    wrinkle_density: float
    wrinkle_width: float
    spindles: float
    follicles: float
    openings: float
    ducts: float
    hairs: float


def make_site(seed: int, index: int) -> Site:
    """Site ``index`` of the data set of this seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, SITE_STREAM, index]))
    return Site(
        name=f"s{index}",
        gain=_around_one(rng, 0.12),
        field_spread=float(rng.uniform(0.10, 0.26)),
        vignetting=float(rng.uniform(0.02, 0.12)),
        psf_um=float(rng.uniform(0.4, 0.8)),
        speckle=float(rng.uniform(0.16, 0.28)),
        grain=float(rng.uniform(0.05, 0.16)),
        black=float(rng.uniform(1, 9)),
    )


def make_patient(seed: int, index: int, sites: int) -> Patient:
    """Patient ``index``; patients are dealt out to the sites in turn."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, PATIENT_STREAM, index]))
    return Patient(
        name=f"p{index:03d}",
        site=make_site(seed, index % sites),
        gain=_around_one(rng, 0.15),
        contrast=_around_one(rng, 0.12),
        scale=_around_one(rng, 0.10),
        bead=_around_one(rng, 0.25),
        wrinkle_direction=float(rng.uniform(0, np.pi)),
        wrinkle_density=_log_normal(rng, 3.4, 0.4, (1.0, 6.0)),
        wrinkle_width=_around_one(rng, 0.25),
        spindles=float(rng.beta(0.6, 3.0)),
        follicles=_log_normal(rng, 0.22, 1.2, (0.02, 2.0)),
        openings=_log_normal(rng, 0.08, 1.2, (0.0, 1.5)),
        ducts=_log_normal(rng, 1.2, 0.3, (0.4, 2.5)),
        hairs=_log_normal(rng, 0.005, 1.3, (0.0, 0.3)),
    )


def _around_one(rng: np.random.Generator, spread: float) -> float:
    return float(np.exp(spread * np.clip(rng.standard_normal(), -2.5, 2.5)))


def _log_normal(rng: np.random.Generator, median: float, spread: float, limits: tuple[float, float]) -> float:
    return float(np.clip(median * np.exp(rng.normal(0, spread)), *limits))
