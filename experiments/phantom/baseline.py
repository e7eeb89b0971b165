"""Are the phantoms easy? Gradient boosting on grey level, local mean and local variance says how far these go.

No pixel's neighbourhood is looked at beyond its Gaussian mean and variance, so what this cannot tell apart, a network
must tell by shape. Usage: python experiments/phantom/baseline.py
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.data.table import SPLIT_NAMES
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.confusion import row_shares
from rcm_cascade.evaluate.results import MosaicResult, score_mosaic
from rcm_cascade.evaluate.summary import summarise, write_metrics
from rcm_cascade.files import write_text
from rcm_cascade.report.tables import interval_note, result_texts
from rcm_cascade.report.text import decimal
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import load_training_data

SCALES_UM: Final = (16, 48, 144)
"""Standard deviations of the Gaussians: a cell, half a ring, a few rings."""

PATTERNS: Final = ("meshwork", "ring", "nested", "patternless")
"""What a lesion is read by; the other two classes are what is not lesion."""

EASY: Final = 0.50
"""Mean sensitivity above which phantoms are too easy."""


def features(image: NDArray[np.uint8], pixel_size_um: float) -> NDArray[np.float32]:
    """Grey level, and local mean and standard deviation at `SCALES_UM`, as logarithms of ratios.

    Ratios, because gain differs from patient to patient and from field to field; trees would need many splits to form
    them. The grey level itself is the first.

    Args:
        image: ``(H, W)`` uint8.
        pixel_size_um: of it.

    Returns:
        ``(H, W, 15)`` float32: grey, grey/whole, grey/mean and mean/whole and sd/mean at each scale, then
        mean/wider mean and sd/wider sd of neighbouring scales.
    """
    grey = image.astype(np.float32)
    whole = float(grey.mean())
    columns = [np.log1p(grey), _ratio(grey, whole)]
    means: list[NDArray[np.float32]] = []
    deviations: list[NDArray[np.float32]] = []
    for scale in SCALES_UM:
        sigma = scale / pixel_size_um
        mean = _blur(grey, sigma)
        deviation = np.sqrt(np.maximum(_blur(grey * grey, sigma) - mean * mean, 0))
        columns += [_ratio(grey, mean), _ratio(mean, whole), _ratio(deviation, mean)]
        means.append(mean)
        deviations.append(deviation)
    for finer in range(len(SCALES_UM) - 1):
        columns += [_ratio(values[finer], values[finer + 1]) for values in (means, deviations)]
    return np.stack(columns, axis=-1)


def _blur(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def _ratio(numerator: NDArray[np.float32], denominator: NDArray[np.float32] | float) -> NDArray[np.float32]:
    """Logarithm of a ratio of grey levels, each plus one level: black stays finite."""
    ratio: NDArray[np.float32] = np.log((numerator + 1) / (denominator + 1))
    return ratio


def draw_pixels(labels: NDArray[np.uint8], per_class: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Flat indices of labelled pixels of a label map ``(H, W)`` uint8, at most ``per_class`` of each class."""
    flat = labels.reshape(-1)
    drawn = []
    for label in np.unique(flat[flat != UNLABELLED]):
        places = np.flatnonzero(flat == label)
        drawn.append(rng.choice(places, min(per_class, len(places)), replace=False))
    return np.concatenate(drawn) if drawn else np.zeros(0, np.int64)


def fit(
    mosaics: Sequence[Mosaic], *, per_class: int = 2000, iterations: int = 50, seed: int = 0
) -> HistGradientBoostingClassifier:
    """Trains on pixels drawn from labelled mosaics; classes weigh the same.

    Args:
        mosaics: to learn from.
        per_class: pixels drawn at most of each class from each mosaic.
        iterations: of boosting; each adds a tree a class.
        seed: of the draw.
    """
    inputs, targets = [], []
    for number, mosaic in enumerate(mosaics):
        labels = _labels(mosaic)
        drawn = draw_pixels(labels, per_class, np.random.default_rng([seed, number]))
        inputs.append(_pixels(mosaic)[drawn])
        targets.append(labels.reshape(-1)[drawn])
    # Not stopped early: pixels held out of the same mosaics would vouch for learning these mosaics by heart.
    model = HistGradientBoostingClassifier(
        max_iter=iterations, min_samples_leaf=100, class_weight="balanced", early_stopping=False, random_state=seed
    )
    return model.fit(np.concatenate(inputs), np.concatenate(targets))


def predict(model: HistGradientBoostingClassifier, mosaic: Mosaic) -> NDArray[np.uint8]:
    """Class ids ``(H, W)`` uint8 at the labelled pixels of a mosaic; 255 elsewhere, where nothing is scored."""
    labels = _labels(mosaic)
    known = np.flatnonzero(labels.reshape(-1) != UNLABELLED)
    prediction = np.full(labels.size, UNLABELLED, np.uint8)
    if len(known):
        prediction[known] = model.predict(_pixels(mosaic)[known])
    return prediction.reshape(labels.shape)


def _pixels(mosaic: Mosaic) -> NDArray[np.float32]:
    assert mosaic.working_pixel_size_um is not None
    table = features(mosaic.image, mosaic.working_pixel_size_um)
    return table.reshape(-1, table.shape[-1])


def _labels(mosaic: Mosaic) -> NDArray[np.uint8]:
    assert mosaic.labels is not None
    return mosaic.labels


def measure_baseline(
    mosaics: Sequence[Mosaic],
    classes: ClassTable,
    *,
    folds: int = 3,
    per_class: int = 2000,
    iterations: int = 50,
    seed: int = 0,
) -> list[MosaicResult]:
    """Scores every labelled pixel of every mosaic by a model that learnt from other patients.

    Folds, and not one split, because a split of two dozen patients may be a lucky one.

    Args:
        mosaics: labelled, of at least ``folds`` patients.
        classes: the class table.
        folds: parts that the patients are dealt out to; each is tested once, and learnt from otherwise.
        per_class: as in `fit`, and so is the next one.
        iterations: see there.
        seed: of the folds and the pixels drawn.

    Returns:
        One result a mosaic, fold by fold.
    """
    parts = GroupKFold(folds, shuffle=True, random_state=seed).split(mosaics, groups=[m.patient for m in mosaics])
    results = []
    for learnt_from, tested in parts:
        model = fit([mosaics[i] for i in learnt_from], per_class=per_class, iterations=iterations, seed=seed)
        for mosaic in (mosaics[i] for i in tested):
            results.append(
                score_mosaic(
                    predict(model, mosaic),
                    _labels(mosaic),
                    mosaic=mosaic.name,
                    patient=mosaic.patient,
                    site=mosaic.site,
                    pixel_size_um=mosaic.working_pixel_size_um,
                    classes=classes,
                    coherence=False,
                )
            )
    return results


def hardest_pattern(summary: Mapping[str, Any]) -> str:
    """The pattern of least sensitivity, among those that the truth holds."""
    found = {c["name"]: c["sensitivity"] for c in summary["classes"] if c["sensitivity"] is not None}
    return min((name for name in PATTERNS if name in found), key=lambda name: float(found[name]))


def markdown_tables(summary: Mapping[str, Any], classes: ClassTable) -> str:
    """Sensitivity and specificity by class, what each class is taken for, and how many mosaics said so, as Markdown.

    Args:
        summary: as `summarise` gives it.
        classes: the class table.
    """
    numbers = [_row("class", "sensitivity", "specificity", "Dice"), _row(*["---"] * 4)]
    texts = result_texts(summary, classes).drop(columns="paper", errors="ignore")
    for name, *cells in texts.itertuples(index=False):
        numbers.append(_row(f"**{name}**" if name == "mean" else name, *map(_short, cells)))
    shares = row_shares(np.array(summary["confusion"], np.int64))
    taken = [_row("truth, taken for →", *classes.names), _row(*["---"] * (len(classes) + 1))]
    for i, name in enumerate(classes.names):
        cells = [_short(decimal(None if np.isnan(share) else float(share))) for share in shares[i]]
        cells[i] = f"**{cells[i]}**"
        taken.append(_row(name, *cells))
    note = f"{summary['labelled_pixels']:,} labelled pixels; {interval_note(summary)}."
    return "\n".join([*numbers, "", note, "", *taken, ""])


def _short(number: str) -> str:
    return number.replace("0.", ".")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def verdict(summary: Mapping[str, Any], classes: ClassTable) -> str:
    """A sentence or two: whether the phantoms are too easy, which pattern is hardest, and what it is taken for."""
    mean = summary["mean"]["sensitivity"]
    name = hardest_pattern(summary)
    shares = row_shares(np.array(summary["confusion"], np.int64))[classes.names.index(name)]
    others = sorted((i for i in range(len(classes)) if classes.names[i] != name), key=lambda i: -shares[i])
    taken = " and ".join(f"{classes.names[i]} ({100 * shares[i]:.0f} %)" for i in others[:2])
    return (
        f"Mean sensitivity {_short(f'{mean:.3f}')}: {'not easy' if mean <= EASY else 'TOO EASY'} "
        f"(the bound is {_short(f'{EASY:.2f}')}). The hardest pattern is {name}, most often taken for {taken}."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosaics", type=int, default=24, metavar="N", help="default: %(default)s, one a patient")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the phantoms lie, or are made (default: named)")
    parser.add_argument("--out", type=Path, default=Path("runs/phantom-baseline"), metavar="DIR")
    options = parser.parse_args(arguments)
    overrides = [f"data.phantom.mosaics={options.mosaics}", "data.phantom.sites=3", "data.phantom.seed=11"]
    if options.data is not None:
        overrides.append(f"data.root={options.data}")
    try:
        data = load_training_data(compose_config(overrides).data)
        mosaics = [mosaic for part in SPLIT_NAMES for mosaic in data.open(part)]
    except InputError as error:
        sys.exit(f"error: {error}")
    started = time.monotonic()
    classes = data.dataset.classes
    results = measure_baseline(mosaics, classes)
    summary = summarise(results, classes, synthetic=data.dataset.synthetic)
    seconds = time.monotonic() - started
    write_metrics(options.out, summary, results, classes)
    text = f"{markdown_tables(summary, classes)}\n{verdict(summary, classes)}\n"
    write_text(options.out / "baseline.md", text)
    print(text)
    print(f"{seconds:.0f} s, not counting the phantoms; {options.out / 'baseline.md'}")


if __name__ == "__main__":
    main()
