"""Cross-validation: who is tested in which fold, by patient, by site, or by mosaic as in the paper."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.intensity import count_values
from rcm_cascade.data.manifest import MANIFEST_FILE, Dataset, MosaicEntry, SplitName, csv_text
from rcm_cascade.data.mosaic import Mosaic, labels_of
from rcm_cascade.data.splits import TEST_SHARE, draw_order, draw_share, split_rest
from rcm_cascade.errors import InputError

Rule = Literal["patients", "sites", "paper"]
"""Folds of patients, one fold a site, or the paper's: about 30 % of mosaics at random, whosever they are."""

ClassPixels = Mapping[str, NDArray[np.int64]]
"""Labelled pixels of each class, ``(C,)``, by the manifest's ``mosaic`` column."""


@dataclass(frozen=True)
class FoldRule:
    """How folds are made.

    Args:
        rule: see `Rule`.
        count: how many folds, for the paper's rule how often it is repeated; None by site, where the sites say it.
        seed: of all draws, and of nothing else.
    """

    rule: Rule
    count: int | None
    seed: int


def make_folds(dataset: Dataset, rule: FoldRule, pixels: ClassPixels) -> list[dict[str, SplitName]]:
    """One split of the labelled mosaics for each fold; the manifest's ``split`` column is not looked at.

    Of the patients that a fold does not test, 15 % but at least one validate, drawn for each fold anew; a single one
    trains.

    Args:
        dataset: the data set.
        rule: how.
        pixels: of every labelled mosaic; only folds of patients depend on them.

    Returns:
        Of each fold ``{mosaic: "train" | "val" | "test"}``, in the manifest's order. Mosaics without label map are in
        none; by site, a tested patient's mosaics from other sites are not in that site's fold either.

    Raises:
        InputError: if there are fewer patients than folds, fewer than two sites or mosaics, a mosaic without site, or
            a fold with nothing to train on.
    """
    labelled = [entry for entry in dataset.entries if entry.label is not None]
    manifest = dataset.root / MANIFEST_FILE
    if rule.rule == "sites":
        without = [entry.mosaic for entry in labelled if not entry.site]
        if without:
            raise InputError(
                f"{manifest} names no site for {without[0]} ({len(without)} in all); fill the column, or use "
                "data.rule=patients"
            )
        splits = _by_site(labelled, rule)
    else:
        folds = range(rule.count or 0)
        if rule.rule == "patients":
            held: dict[str, NDArray[np.int64]] = {}
            for entry in labelled:
                held[entry.patient] = pixels[entry.mosaic] + held.get(entry.patient, 0)
            fold_of = assign_patients(held, len(folds), rule.seed)
            tested = [{e.mosaic for e in labelled if fold_of[e.patient] == fold} for fold in folds]
        else:
            tested = [draw_share([e.mosaic for e in labelled], TEST_SHARE, rule.seed, repeat) for repeat in folds]
        splits = [split_rest(labelled, tested[fold], rule.seed, fold) for fold in folds]
    for fold, split in enumerate(splits):
        for part in ("train", "test"):
            if part not in split.values():
                patients, sites = ({getattr(e, key) for e in labelled} for key in ("patient", "site"))
                raise InputError(
                    f"{manifest} leaves fold {fold} by {rule.rule} no labelled mosaic to {part}: it names "
                    f"{len(labelled)} of {len(patients)} patients and {len(sites)} sites; ask for fewer folds with "
                    "data.folds, or use data.rule=patients"
                )
    return splits


def assign_patients(held: ClassPixels, folds: int, seed: int) -> dict[str, int]:
    """Deals patients out to folds such that each fold gets its share of every class.

    In descending labelled area, each goes to the fold that then leaves the smallest sum, over folds, of squared
    deviations from 1 / folds of the fold's share of each class's pixels and of its share of the patients. Computed in
    whole numbers, so that no rounding decides; among equal areas a hash of seed and patient does, among equal folds the
    first is taken.

    Args:
        held: labelled pixels of each class, ``(C,)``, by patient.
        folds: at most as many as patients; each gets at least one.
        seed: of the hash.

    Returns:
        ``{patient: fold}``, folds from 0.
    """
    totals = [int(total) for total in np.sum(list(held.values()), axis=0)]
    weights = [Fraction(1, total**2) if total else Fraction(0) for total in (*totals, len(held))]
    loads = [[0] * len(weights) for _ in range(folds)]
    assigned = {}
    for patient in sorted(draw_order(held, seed), key=lambda patient: -int(held[patient].sum())):
        own = [*map(int, held[patient]), 1]
        # With shares s of a fold and v of the patient the sum grows by 2 s·v, plus what is the same in every fold.
        growth = [sum(w * a * b for w, a, b in zip(weights, load, own, strict=True)) for load in loads]
        fold = growth.index(min(growth))
        loads[fold] = [a + b for a, b in zip(loads[fold], own, strict=True)]
        assigned[patient] = fold
    return assigned


def untrained_classes(split: Mapping[str, SplitName], pixels: ClassPixels) -> list[int]:
    """Classes with labelled pixels in a fold's test part and none in its training part; no network can learn those."""
    seen = {part: np.zeros_like(next(iter(pixels.values()))) for part in ("train", "val", "test")}
    for mosaic, part in split.items():
        seen[part] += pixels[mosaic]
    return [int(c) for c in np.flatnonzero((seen["test"] > 0) & (seen["train"] == 0))]


def class_pixels(mosaics: Iterable[Mosaic], num_classes: int) -> dict[str, NDArray[np.int64]]:
    """Labelled pixels of each class, ``(C,)``, on the working grid, by mosaic; about 1 ms a megapixel."""
    return {mosaic.name: count_values(labels_of(mosaic))[:num_classes] for mosaic in mosaics}


def format_folds(dataset: Dataset, splits: Sequence[Mapping[str, SplitName]]) -> str:
    """CSV ``mosaic,patient,site,fold``: a line for each fold that tests a mosaic.

    A mosaic that no fold tests, as happens under the paper's rule, has one line with an empty fold.
    """
    rows: list[tuple[object, ...]] = []
    for entry in dataset.entries:
        if entry.label is not None:
            tested = [fold for fold, split in enumerate(splits) if split.get(entry.mosaic) == "test"]
            patient = entry.patient if entry.patient_given else ""
            rows += [(entry.mosaic, patient, entry.site, fold) for fold in tested or (None,)]
    return csv_text(("mosaic", "patient", "site", "fold"), rows)


def _by_site(labelled: Sequence[MosaicEntry], rule: FoldRule) -> list[dict[str, SplitName]]:
    splits = []
    for fold, site in enumerate(sorted({entry.site for entry in labelled})):
        patients = {e.patient for e in labelled if e.site == site}
        kept = [e for e in labelled if e.site == site or e.patient not in patients]
        splits.append(split_rest(kept, {e.mosaic for e in kept if e.site == site}, rule.seed, fold))
    return splits
