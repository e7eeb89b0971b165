"""The folds of a cross-validation on disk: drawn once, written down, and refused where they no longer fit."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.folds import FoldRule, count_pixels, make_folds, untrained_classes, write_folds
from rcm_cascade.data.manifest import MANIFEST_FILE, Dataset, SplitName
from rcm_cascade.data.mosaic import resolve_working_pixel_size
from rcm_cascade.data.splits import patients_straddling, read_split, write_split
from rcm_cascade.errors import InputError
from rcm_cascade.runs.config import DataSection, differences
from rcm_cascade.runs.data import TrainingData, describe_split, make_cache
from rcm_cascade.runs.folder import write_json
from rcm_cascade.runs.jobs import SWEEP_FILE

RECORD_FILE: Final = "crossval.json"


@dataclass(frozen=True)
class Folds:
    """The folds that a folder holds.

    Args:
        folder: of the cross-validation.
        dataset: that is cross-validated.
        rule: by which the folds were made.
        splits: ``{mosaic: "train" | "val" | "test"}`` of each fold.
        untrained: by fold, the names of classes that it tests and has no training pixel of.
    """

    folder: Path
    dataset: Dataset
    rule: FoldRule
    splits: tuple[Mapping[str, SplitName], ...]
    untrained: Mapping[int, list[str]]

    def file(self, fold: int) -> Path:
        """The CSV ``mosaic,split`` of a fold."""
        return _file(self.folder, fold)

    def tested(self, fold: int) -> list[str]:
        """The mosaics that a fold tests, in the manifest's order."""
        return [mosaic for mosaic, part in self.splits[fold].items() if part == "test"]

    @property
    def sentence(self) -> str:
        """The rule in words."""
        count = len(self.splits)
        return {
            "patients": f"{count} folds of patients, each class dealt out evenly",
            "sites": f"leave one site out: {count} folds, one a site",
            "paper": f"about 30 % of mosaics drawn at random, whosever they are, {count} times",
        }[self.rule.rule] + f" (data.split_seed={self.rule.seed})"


def settle_folds(folder: Path, dataset: Dataset, data: DataSection, rule: FoldRule) -> Folds:
    """The folds that a folder holds already, else those that the rule makes, which are then written there.

    Written are ``folds.csv``, a split file ``fold0.csv`` … for each fold, and, last, ``crossval.json``. What is to be
    known about the folds goes to stderr.

    Args:
        folder: of the cross-validation.
        dataset: to cross-validate.
        data: tells the working grid, on which class pixels are counted.
        rule: how folds are made.

    Raises:
        InputError: if the folder holds folds of another rule or data set, or runs of another kind; or as `make_folds`.
    """
    record = folder / RECORD_FILE
    if not record.is_file():
        if (folder / "config.yaml").is_file() or (folder / SWEEP_FILE).is_file():
            raise InputError(f"folder {folder} holds other runs; choose another with --out NAME")
        nothing = {entry.mosaic: np.zeros(len(dataset.classes), np.int64) for entry in dataset.entries}
        make_folds(dataset, rule, nothing)  # what cannot be folded is refused before every mosaic is decoded
        _write(folder, dataset, rule, _count(dataset, data))
    recorded = json.loads(record.read_text(encoding="utf-8"))
    asked = _identity(dataset, rule)
    if rule.count is None:
        asked["folds"] = recorded["folds"]  # as many as the data set has sites
    changed = differences({key: recorded.get(key) for key in asked}, asked)
    if changed:
        raise InputError(
            f"folder {folder} holds other folds ({'; '.join(changed)}); choose another with --out NAME, or delete this "
            "one"
        )
    splits = tuple(read_split(_file(folder, fold)) for fold in range(recorded["folds"]))
    folds = Folds(folder, dataset, rule, splits, {int(k): v for k, v in recorded["untrained"].items()})
    _tell(folds)
    return folds


def _file(folder: Path, fold: int) -> Path:
    return folder / f"fold{fold}.csv"


def _identity(dataset: Dataset, rule: FoldRule) -> dict[str, object]:
    return {
        "rule": rule.rule,
        "folds": rule.count,
        "split_seed": rule.seed,
        "dataset": dataset.name,
        "dataset_id": dataset.id,
    }


def _write(folder: Path, dataset: Dataset, rule: FoldRule, pixels: Mapping[str, NDArray[np.int64]]) -> None:
    splits = make_folds(dataset, rule, pixels)
    untrained = {}
    for fold, split in enumerate(splits):
        write_split(_file(folder, fold), split)
        if missing := untrained_classes(split, pixels):
            untrained[str(fold)] = [dataset.classes.names[c] for c in missing]
    write_folds(folder / "folds.csv", dataset, splits)
    write_json(folder / RECORD_FILE, _identity(dataset, rule) | {"folds": len(splits), "untrained": untrained})


def _count(dataset: Dataset, data: DataSection) -> dict[str, NDArray[np.int64]]:
    """Labelled pixels of each class in each labelled mosaic, on the working grid."""
    everything = dict.fromkeys((entry.mosaic for entry in dataset.entries), SPLIT_OF_ALL)
    working = resolve_working_pixel_size(dataset, data.working_pixel_size_um)
    cache = make_cache(data.cache_dir, data.cache_gb)
    counts = {}
    for mosaic in TrainingData(dataset, everything, working, data.normalisation, cache).open(SPLIT_OF_ALL):
        assert mosaic.labels is not None
        counts[mosaic.name] = count_pixels(mosaic.labels, len(dataset.classes))
    return counts


SPLIT_OF_ALL: Final[SplitName] = "train"
"""Every mosaic is trained on in some fold, so that none is opened for the count alone."""


def _tell(folds: Folds) -> None:
    """What a reader of the numbers must know, on stderr."""
    manifest = folds.dataset.root / MANIFEST_FILE
    labelled = [entry for entry in folds.dataset.entries if entry.label is not None]
    lines = [f"{folds.dataset.name}: {folds.sentence}"]
    if any(entry.split for entry in labelled):
        lines.append(f"the split column of {manifest} is ignored: every fold has a split of its own")
    nameless = sum(not entry.patient_given for entry in labelled)
    if nameless:
        lines.append(
            f"warning: {manifest} names no patient for {nameless} of {len(labelled)} mosaics; each of them counts as a "
            "patient of its own"
        )
    straddling = sorted({p for split in folds.splits for p in patients_straddling(folds.dataset, split)})
    if straddling:
        lines.append(
            f"WARNING: patients on both sides of a split: {', '.join(straddling)}. They are tested by networks that "
            "were trained on them, so the numbers are too good; --rule patients keeps them apart."
        )
    for fold, split in enumerate(folds.splits):
        left_out = {entry.patient for entry in labelled if entry.mosaic not in split}
        lines.append(f"fold {fold}: {describe_split(split)} mosaics")
        if left_out:
            lines.append(
                f"warning: fold {fold} leaves out the mosaics that its tested patients have from other sites: "
                + ", ".join(sorted(left_out))
            )
        if fold in folds.untrained:
            lines.append(f"warning: fold {fold} tests {', '.join(folds.untrained[fold])} and has none to train on")
    print("\n".join(lines), file=sys.stderr)
