"""What one mosaic shall be, before anything is drawn."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import beta

from rcm_cascade.data.phantom.people import Patient

MOSAIC_STREAM, SET_STREAM = 1, 4

PATTERNS = (2, 3, 4, 5)
"""Class ids of the four patterns: meshwork, ring, nested, patternless."""

LESION_SHARE = (0.74, 0.24)
"""Mean and spread of the lesion's share of the area (rcm-facts §4.2)."""

ARTIFACT_MEDIAN, ARTIFACT_LOG_SPREAD, ARTIFACT_MOST = 0.028, 1.4, 0.5
"""The share out of contact is log-normal: mean 8 %, three in four below 10 %, a few a quarter or more (§4.2)."""

LABELLED_SHARE = (0.58, 0.12)
"""Mean and spread of the labelled share of the pixels (§4.2)."""


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
        no_contact_share: of the area.
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
    *, seed: int, index: int, size_um: tuple[float, float], pixel_size_um: float, patient: Patient
) -> Recipe:
    """Draws what differs from mosaic to mosaic.

    Shares are drawn from evenly spread quantiles (irrational steps from a start of the seed), and the favoured
    pattern goes round, so that a set of a dozen mosaics already has the means and every class; each mosaic still
    depends on (seed, index) alone.
    """
    starts = np.random.default_rng(np.random.SeedSequence([seed, SET_STREAM])).random(4)
    # irrational steps of their own, so that no two shares go up and down together
    steps = np.array([0.6180340, 0.7548777, 0.5698403, 0.8191725])
    quantile = ((starts + steps * index) % 1).clip(0.01, 0.99)
    rng = np.random.default_rng(np.random.SeedSequence([seed, MOSAIC_STREAM, index, 1]))
    bias = rng.normal(0, 0.35, len(PATTERNS))
    first = (index + int(starts[3] * 4)) % 4
    bias[first] += 0.75
    bias[(first + 1 + int(rng.integers(3))) % 4] += 0.35
    mean, spread = LESION_SHARE
    concentration = mean * (1 - mean) / spread**2 - 1
    lesion = float(beta.ppf(quantile[0], mean * concentration, (1 - mean) * concentration))
    normal = NormalDist().inv_cdf
    no_contact = ARTIFACT_MEDIAN * np.exp(ARTIFACT_LOG_SPREAD * normal(float(quantile[1])))
    labelled = LABELLED_SHARE[0] + LABELLED_SHARE[1] * normal(float(quantile[2]))
    return Recipe(
        seed=seed,
        index=index,
        size_um=size_um,
        pixel_size_um=pixel_size_um,
        patient=patient,
        lesion_share=float(np.clip(lesion, 0.15, 0.96)),
        pattern_bias=(float(bias[0]), float(bias[1]), float(bias[2]), float(bias[3])),
        no_contact_share=float(min(no_contact, ARTIFACT_MOST)),
        labelled_share=float(np.clip(labelled, 0.25, 0.85)),
    )
