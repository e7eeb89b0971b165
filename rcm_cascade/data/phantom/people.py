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
    """

    name: str
    gain: float
    field_spread: float
    vignetting: float
    psf_um: float
    speckle: float


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
        wrinkle_direction: radians, from the rows towards the columns.
        wrinkle_density: lines a mm², 0.25 to 3.5.
        wrinkle_width: of the lines, around 1.
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


def make_site(seed: int, index: int) -> Site:
    """Site ``index`` of the data set of this seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, SITE_STREAM, index]))
    return Site(
        name=f"s{index}",
        gain=_around_one(rng, 0.12),
        field_spread=float(rng.uniform(0.10, 0.26)),
        vignetting=float(rng.uniform(0.02, 0.12)),
        psf_um=float(rng.uniform(0.4, 0.8)),
        speckle=float(rng.uniform(0.22, 0.36)),
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
        wrinkle_density=float(np.exp(rng.normal(0.3, 0.6)).clip(0.25, 3.5)),
        wrinkle_width=_around_one(rng, 0.25),
    )


def _around_one(rng: np.random.Generator, spread: float) -> float:
    return float(np.exp(spread * np.clip(rng.standard_normal(), -2.5, 2.5)))
