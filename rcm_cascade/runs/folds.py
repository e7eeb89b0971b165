"""The folds of a cross-validation: drawn from the data set whenever they are needed, written down beside the jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.folds import ClassPixels, FoldRule, class_pixels, format_folds, make_folds, untrained_classes
from rcm_cascade.data.manifest import MANIFEST_FILE, Dataset, SplitName
from rcm_cascade.data.mosaic import open_dataset_mosaics, resolve_working_pixel_size
from rcm_cascade.data.splits import describe_split, patients_straddling
from rcm_cascade.errors import InputError
from rcm_cascade.runs.config import DataSection

FOLDS_FILE: Final = "folds.csv"


@dataclass(frozen=True)
class Folds:
    """The folds of a data set.

    Args:
        dataset: that is cross-validated.
        rule: by which the folds are made.
        splits: ``{mosaic: "train" | "val" | "test"}`` of each fold.
        pixels: labelled pixels of each class, by mosaic.
    """

    dataset: Dataset
    rule: FoldRule
    splits: tuple[Mapping[str, SplitName], ...]
    pixels: ClassPixels

    def split(self, fold: int) -> dict[str, SplitName]:
        """Which mosaic a fold uses for what.

        Raises:
            InputError: if there is no such fold; of folds by site, the data say how many there are.
        """
        if fold >= len(self.splits):
            raise InputError(
                f"data.fold={fold}, and {self.dataset.root / MANIFEST_FILE} makes {len(self.splits)} folds by "
                f"{self.rule.rule}; give 0 to {len(self.splits) - 1}"
            )
        return dict(self.splits[fold])

    def untrained(self, fold: int) -> list[str]:
        """Names of the classes that a fold tests and has no training pixel of."""
        names = self.dataset.classes.names
        return [names[i] for i in untrained_classes(self.splits[fold], self.pixels)]

    def describe(self) -> list[str]:
        """What a reader of the numbers must know, line by line."""
        manifest, count = self.dataset.root / MANIFEST_FILE, len(self.splits)
        labelled = [entry for entry in self.dataset.entries if entry.label is not None]
        made = {
            "patients": f"{count} folds of patients, each class dealt out evenly",
            "sites": f"leave one site out: {count} folds, one a site",
            "paper": f"about 30 % of mosaics drawn at random, whosever they are, {count} times",
        }[self.rule.rule]
        lines = [f"{self.dataset.name}: {made} (data.split_seed={self.rule.seed})"]
        if any(entry.split for entry in labelled):
            lines.append(f"the split column of {manifest} is ignored: every fold has its split")
        nameless = sum(not entry.patient_given for entry in labelled)
        if nameless:
            lines.append(
                f"warning: {manifest} names no patient for {nameless} of {len(labelled)} mosaics; each of them counts "
                "as one patient"
            )
        straddling = sorted({p for split in self.splits for p in patients_straddling(self.dataset, split)})
        if straddling:
            lines.append(
                f"WARNING: patients on both sides of a split: {', '.join(straddling)}. They are tested by networks "
                "that were trained on them, so the numbers are too good; data.rule=patients keeps them apart."
            )
        for fold, split in enumerate(self.splits):
            lines.append(f"fold {fold}: {describe_split(split)} mosaics")
            left_out = {entry.patient for entry in labelled if entry.mosaic not in split}
            if left_out:
                lines.append(
                    f"warning: fold {fold} leaves out the mosaics that its tested patients have from other sites: "
                    + ", ".join(sorted(left_out))
                )
            if names := self.untrained(fold):
                lines.append(f"warning: fold {fold} tests {', '.join(names)} and has none to train on")
        return lines

    def to_csv(self) -> str:
        """The content of folds.csv: ``mosaic,patient,site,fold``, a line for each fold that tests a mosaic."""
        return format_folds(self.dataset, self.splits)


def draw_folds(dataset: Dataset, data: DataSection, cache: MosaicCache) -> Folds:
    """The folds that a configuration asks for; the same whenever they are drawn from the same data set.

    Args:
        dataset: of which every labelled mosaic is opened, to count its classes on the working grid.
        data: with `fold` set.
        cache: of decoded mosaics.

    Raises:
        InputError: if the data set cannot be folded so.
    """
    rule = data.fold_rule
    assert rule is not None
    labelled = [entry for entry in dataset.entries if entry.label is not None]
    nothing = {entry.mosaic: np.zeros(len(dataset.classes), np.int64) for entry in labelled}
    make_folds(dataset, rule, nothing)  # what cannot be folded is refused before every mosaic is decoded
    working = resolve_working_pixel_size(dataset, data.working_pixel_size_um)
    mosaics = open_dataset_mosaics(
        dataset, labelled, working_pixel_size_um=working, normalisation=data.normalisation, cache=cache
    )
    pixels = class_pixels(mosaics, len(dataset.classes))
    return Folds(dataset, rule, tuple(make_folds(dataset, rule, pixels)), pixels)
