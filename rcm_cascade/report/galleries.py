"""The worst and the best test mosaic of the reference, as every configuration predicted it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib.colors
import numpy as np
from PIL import Image

from rcm_cascade.evaluate.confusion import dice, macro_means
from rcm_cascade.pictures.figure import FRAME
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.outcomes import Outcome

WIDEST: Final = 1500
"""Px of a picture on the page, which shows it at two thirds of that; mosaics are noise and cost a megabyte each."""


Read = Callable[[Outcome, int], Image.Image | None]
"""The comparison (image, truth, prediction) of an outcome's mosaic by its number; None where it is gone."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A mosaic as a configuration predicted it.

    Args:
        title: the configuration and its score on this mosaic.
        image: the whole comparison for the reference, the prediction alone for the others.
    """

    title: str
    image: Image.Image


@dataclass(frozen=True, eq=False)
class Gallery:
    """One mosaic, as all configurations predicted it.

    Args:
        rank: ``"worst"`` or ``"best"``.
        mosaic: its name.
        reference: image, truth and the reference's prediction.
        others: in the order of the sweep; those of which a picture is left.
    """

    rank: str
    mosaic: str
    reference: Picture
    others: tuple[Picture, ...]


def galleries(comparison: Comparison, read: Read) -> list[Gallery]:
    """The mosaics on which the reference's first seed has the lowest and the highest mean Dice.

    Every configuration is shown by its first seed. Mosaics of which the reference has no picture any more are left out.

    Args:
        comparison: of the sweep.
        read: finds the pictures.
    """
    first = comparison.reference.outcomes[0]
    scores = mosaic_scores(first)
    ranked = sorted((score, name) for score, name in zip(scores, first.names, strict=True) if not np.isnan(score))
    ends = [("worst", ranked[0][1]), ("best", ranked[-1][1])] if len(ranked) > 1 else [("only", n) for _, n in ranked]
    made = []
    for rank, mosaic in ends:
        own = read(first, first.names.index(mosaic))
        if own is None:
            continue
        others = []
        for result in comparison.compared:
            outcome = result.outcomes[0]
            image = read(outcome, outcome.names.index(mosaic)) if mosaic in outcome.names else None
            if image is not None:
                title = _title(result.label, outcome, mosaic)
                others.append(Picture(title, last_panel(image) or _shrunk(image)))
        reference = Picture(_title(comparison.reference.label, first, mosaic), _shrunk(own))
        made.append(Gallery(rank, mosaic, reference, tuple(others)))
    return made


def mosaic_scores(outcome: Outcome) -> Sequence[float]:
    """The mean Dice of each mosaic over the classes that it has, in the order of the outcome; NaN without a label."""
    return [float(v) for v in macro_means(dice(outcome.confusions), outcome.confusions)]


def last_panel(figure: Image.Image) -> Image.Image | None:
    """The last panel of a figure that `compose` drew in one row, without its frame; None where there is none.

    The figure holds no other record of where its panels lie than the frames round them.
    """
    pixels = np.asarray(figure.convert("RGB"))
    frame = (pixels == np.rint(255 * np.array(matplotlib.colors.to_rgb(FRAME))).astype(np.uint8)).all(axis=2)
    along = frame.sum(axis=1)
    rows = np.flatnonzero(along == along.max())
    if len(rows) != 2 or along.max() < 10:
        return None
    top, bottom = rows.tolist()
    columns = np.flatnonzero(frame[top : bottom + 1].all(axis=0))
    if len(columns) < 2 or len(columns) % 2:
        return None
    left, right = columns[-2:].tolist()
    return figure.crop((left + 1, top + 1, right, bottom))


def _title(label: str, outcome: Outcome, mosaic: str) -> str:
    score = mosaic_scores(outcome)[outcome.names.index(mosaic)]
    return f"{label}, seed {outcome.job.seed}: mean Dice {score:.2f}"


def _shrunk(picture: Image.Image) -> Image.Image:
    if picture.width <= WIDEST:
        return picture
    height = max(1, round(picture.height * WIDEST / picture.width))
    return picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
