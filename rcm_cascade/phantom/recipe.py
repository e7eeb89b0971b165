"""What one mosaic shall be, before anything is drawn."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import beta

from rcm_cascade.phantom.people import Patient

MOSAIC_STREAM, SET_STREAM = 1, 4

PATTERNS = (2, 3, 4, 5)
"""Class ids of the four patterns: meshwork, ring, nested, patternless."""

LESION_SHARE = (0.74, 0.24)
"""Mean and spread of the lesion's share of the area (Kose et al. 2020, J Invest Dermatol 140:1214)."""

NO_CONTACT_QUANTILES, NO_CONTACT_SHARES = (0.0, 0.3, 0.6, 0.78, 0.9, 1.0), (0.0, 0.001, 0.006, 0.035, 0.19, 0.38)
"""The share out of contact is heavy-tailed, so that of all artifacts the mean is 8 %, three mosaics in four have less
than 10 %, and one in ten has more than a quarter (Kose et al. 2020, as above)."""

DEFORMED_BETA = (2.0, 3.7)
"""Distribution of the deformed share of the meshwork; its mean is .35."""

FURROWED_FROM, MOVED_FROM = 0.8, 0.75
"""Quantiles above which a mosaic has thick furrows, and fields that the skin moved in."""

LABELLED_SHARE = (0.58, 0.12)
"""Mean and spread of the labelled share of the pixels; the set of Kose et al. 2018 has about 58 %."""


@dataclass(frozen=True)
class Recipe:
    """One mosaic to be.

    Args:
        seed: of the data set.
        index: of the mosaic, from 0.
        size_um: height, width in µm.
        pixel_size_um: µm per pixel.
        patient: whose skin.
        lesion_share: of the area.
        pattern_bias: how much each of `PATTERNS` is favoured, in spreads of the noise that places it.
        no_contact_share: of the area, 0 to 0.4.
        no_contact_side: where contact is lost, radians; 0 is the right side, pi / 2 the bottom.
        furrows: thick dark furrows, mm of line a mm², 0 to 1.2; mostly 0.
        banks: brightness of the keratin beside wrinkles and furrows, 0.3 to 4; above 2 most of it saturates.
        bands: share of the area under broad bright bands out of focus, 0 to 0.4.
        motion: share of the fields that the skin moved in, 0 to 0.1; mostly 0.
        reflections: strength of the window's rings, 0 to 1; above 0.5 they hide the tissue.
        deformed_meshwork: share of the meshwork that is deformed, 0 to 1.
        clod_size: share of large soft clods among the nested ones, 0 to 1.
        labelled_share: of the pixels, aimed at.
    """

    seed: int
    index: int
    size_um: tuple[float, float]
    pixel_size_um: float
    patient: Patient
    lesion_share: float
    pattern_bias: tuple[float, float, float, float]
    no_contact_share: float
    no_contact_side: float
    furrows: float
    banks: float
    bands: float
    motion: float
    reflections: float
    deformed_meshwork: float
    clod_size: float
    labelled_share: float

    @property
    def name(self) -> str:
        """File stem; the seed is in it, so that the files of two data sets do not pass for each other."""
        return f"phantom-{self.seed}-{self.index:03d}"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the mosaic."""
        height, width = (max(1, round(side / self.pixel_size_um)) for side in self.size_um)
        return height, width

    def stream(self) -> np.random.Generator:
        """The mosaic's own random numbers, the same in any process."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, MOSAIC_STREAM, self.index]))


def make_recipe(
    *,
    seed: int,
    index: int,
    size_um: tuple[float, float],
    pixel_size_um: float,
    patient: Patient,
    deformed_meshwork: float | None = None,
) -> Recipe:
    """Draws what differs from mosaic to mosaic; ``deformed_meshwork`` is drawn too unless it is given.

    Shares are drawn from evenly spread quantiles (irrational steps from a start of the seed), and the favoured
    pattern goes round, so that a set of a dozen mosaics already has the means and every class; each mosaic still
    depends on (seed, index) alone.
    """
    starts = np.random.default_rng(np.random.SeedSequence([seed, SET_STREAM])).random(9)
    # irrational steps of their own, so that no two shares go up and down together
    steps = np.sqrt([5, 2, 3, 7, 11, 13, 17, 19, 23])
    quantile = ((starts + steps * index) % 1).clip(0.01, 0.99)
    normal = [NormalDist().inv_cdf(float(one)) for one in quantile]
    rng = np.random.default_rng(np.random.SeedSequence([seed, MOSAIC_STREAM, index, 1]))
    bias = rng.normal(0, 0.35, len(PATTERNS))
    first = (index + int(starts[3] * 4)) % 4
    bias[first] += 0.75
    bias[(first + 1 + int(rng.integers(3))) % 4] += 0.35
    mean, spread = LESION_SHARE
    concentration = mean * (1 - mean) / spread**2 - 1
    lesion = float(beta.ppf(quantile[0], mean * concentration, (1 - mean) * concentration))
    no_contact = np.interp(quantile[1], NO_CONTACT_QUANTILES, NO_CONTACT_SHARES)
    deformed = float(beta.ppf(quantile[4], *DEFORMED_BETA)) if deformed_meshwork is None else deformed_meshwork
    # a few mosaics have furrows, motion or strong reflections; most have next to none
    furrows = 0.25 * np.exp(0.7 * rng.standard_normal()) if quantile[7] > FURROWED_FROM else 0.0
    motion = 0.025 * rng.exponential() if quantile[8] > MOVED_FROM else 0.0
    return Recipe(
        seed=seed,
        index=index,
        size_um=size_um,
        pixel_size_um=pixel_size_um,
        patient=patient,
        lesion_share=float(np.clip(lesion, 0.15, 0.96)),
        pattern_bias=(float(bias[0]), float(bias[1]), float(bias[2]), float(bias[3])),
        no_contact_share=float(no_contact),
        no_contact_side=_side(rng),
        furrows=float(min(furrows, 1.2)),
        banks=float(np.exp(0.45 * rng.standard_normal()).clip(0.3, 4)),
        bands=float(min(0.025 * np.exp(1.3 * normal[6]), 0.4)),
        motion=float(min(motion, 0.1)),
        reflections=float(min(0.07 * np.exp(0.8 * rng.standard_normal()), 1.0)),
        deformed_meshwork=float(deformed),
        clod_size=float(quantile[5]),
        labelled_share=float(np.clip(LABELLED_SHARE[0] + LABELLED_SHARE[1] * normal[2], 0.25, 0.85)),
    )


def _side(rng: np.random.Generator) -> float:
    """Contact is mostly lost along one side of the mosaic, else from a corner."""
    side, corner = 0.5 * np.pi * rng.integers(4) + rng.normal(0, 0.12), rng.uniform(0, 2 * np.pi)
    return float(side if rng.random() < 0.7 else corner)
