"""From what the user named to mosaics ready to train or evaluate on: the data set, its split or folds, its cache."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from rcm_cascade.data import splits
from rcm_cascade.data.cache import MosaicCache, default_folder
from rcm_cascade.data.folds import ClassPixels, FoldRule, class_pixels, format_folds, make_folds, untrained_classes
from rcm_cascade.data.ids import DatasetIds, dataset_ids, mosaic_ids
from rcm_cascade.data.intensity import Normalisation
from rcm_cascade.data.manifest import MANIFEST_FILE, Dataset, MosaicEntry, SplitName, parse_length, read_dataset
from rcm_cascade.data.mosaic import Mosaic, open_dataset_mosaics, resolve_working_pixel_size
from rcm_cascade.data.windows import PatchGeometry
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.phantom import ensure_phantoms, phantom_name
from rcm_cascade.runs.config import DataSection
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.identity import read_config

FOLDS_FILE: Final = "folds.csv"

DEFAULT_LENGTHS: Final = {"window": ("1 mm", "512 px"), "stride": ("0.5 mm", "256 px"), "patch": ("0.5 mm", "256 px")}
"""The paper's lengths, and what stands in for them where no pixel size is known."""


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

    def trained(self, split: Mapping[str, SplitName]) -> list[str]:
        """Names of the classes that the training mosaics of a split hold."""
        held = np.sum([self.pixels[mosaic] for mosaic, part in split.items() if part == "train"], axis=0)
        return [name for name, pixels in zip(self.dataset.classes.names, held, strict=True) if pixels]

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
        straddling = sorted({p for split in self.splits for p in splits.patients_straddling(self.dataset, split)})
        if straddling:
            lines.append(
                f"WARNING: patients on both sides of a split: {', '.join(straddling)}. They are tested by networks "
                "that were trained on them, so the numbers are too good; data.rule=patients keeps them apart."
            )
        for fold, split in enumerate(self.splits):
            lines.append(f"fold {fold}: {splits.describe_split(split)} mosaics")
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


@dataclass(frozen=True)
class TrainingData:
    """A data set on the working grid, split.

    Args:
        dataset: as it lies on disk.
        split: ``{mosaic: "train" | "val" | "test"}``.
        working_pixel_size_um: µm per pixel; None: each mosaic's own grid.
        normalisation: how grey levels become network input.
        cache: where decoded mosaics lie.
        folds: of which the split is one; None: it is not made of folds.
    """

    dataset: Dataset
    split: Mapping[str, SplitName]
    working_pixel_size_um: float | None
    normalisation: Normalisation
    cache: MosaicCache
    folds: Folds | None = None

    @cached_property
    def ids(self) -> DatasetIds:
        """Of the data set."""
        return dataset_ids(self.dataset, self.cache)

    @cached_property
    def contents(self) -> dict[str, str]:
        """Of its mosaics, by which a checkpoint knows them."""
        return mosaic_ids(self.dataset, self.cache)

    @property
    def facts(self) -> dict[str, str]:
        """What the result of a run depends on beside its configuration, for `changed_data`."""
        ids = {"dataset_id": self.ids.content, "mosaics_id": self.ids.mosaics, "legacy_id": self.ids.legacy}
        return ids | {"split_id": splits.split_id(self.split)}

    def recognised(self, header: CheckpointHeader) -> CheckpointHeader:
        """A checkpoint's header, with today's ids where it was written before them and is of this data set."""
        if header.mosaics_id or header.dataset_id != self.ids.legacy:
            return header
        return replace(header, dataset_id=self.ids.content, mosaics_id=self.ids.mosaics)

    def entries(self, part: str) -> list[MosaicEntry]:
        """The labelled mosaics of a part of the split, in the manifest's order."""
        return [e for e in self.dataset.entries if self.split.get(e.mosaic) == part and e.label is not None]

    def need(self, part: SplitName) -> None:
        """Refuses an empty part of the split.

        Raises:
            InputError: if there is no labelled mosaic.
        """
        if not self.entries(part):
            raise InputError(
                f"{self.dataset.root} has no labelled mosaic in its {part} split; name some in the split column of "
                "manifest.csv, or give a split file"
            )

    def open(self, part: str) -> list[Mosaic]:
        """The labelled mosaics of a part of the split, decoded at most once."""
        return open_dataset_mosaics(
            self.dataset,
            self.entries(part),
            working_pixel_size_um=self.working_pixel_size_um,
            normalisation=self.normalisation,
            cache=self.cache,
        )


def find_dataset(data: DataSection) -> Path:
    """The folder of the data set that a configuration names; phantoms are generated where they are missing.

    Raises:
        InputError: if ``data=folder`` comes without ``data.root``.
    """
    folder = dataset_folder(data)
    if data.source == "phantom":
        ensure_phantoms(folder, data.phantom.model_dump())
    return folder


def dataset_folder(data: DataSection) -> Path:
    """Where the data set of a configuration lies, or will.

    Raises:
        InputError: if ``data=folder`` comes without ``data.root``.
    """
    if data.root:
        return Path(data.root)
    if data.source == "folder":
        raise InputError("data=folder needs data.root=FOLDER, the folder that holds dataset.yaml and manifest.csv")
    return Path("phantoms") / phantom_name(data.phantom.model_dump())


def load_training_data(data: DataSection, root: Path | None = None) -> TrainingData:
    """Reads the data set that a configuration names, splits it and settles the working pixel size.

    Args:
        data: the configuration.
        root: folder of the data set, which is there; None: as `find_dataset` says.

    Raises:
        InputError: if anything of it is wrong, naming the file.
    """
    dataset, cache, folds = read_dataset(root or find_dataset(data)), make_cache(data), None
    working = resolve_working_pixel_size(dataset, data.working_pixel_size_um)
    if data.fold is None:
        split = splits.make_split(
            dataset, seed=data.split_seed, split_file=Path(data.split_file) if data.split_file else None
        )
    else:
        folds = draw_folds(dataset, data, working, cache)
        split = folds.split(data.fold)
    if data.labelled_fraction is not None:
        split = splits.keep_training_patients(dataset, split, data.labelled_fraction, data.split_seed)
    return TrainingData(dataset, split, working, data.normalisation, cache, folds)


def data_of_checkpoint(header: CheckpointHeader, run: RunFolder, root: Path) -> tuple[TrainingData, bool]:
    """A data set as a checkpoint needs it, split as the checkpoint says; a file that was renamed keeps its part.

    Args:
        header: of the checkpoint.
        run: folder of its run, whose cache of decoded mosaics is used; the default one where the folder is no run's.
        root: folder of the data set.

    Returns:
        The data set, and whether it is the one that the checkpoint was trained on.

    Raises:
        InputError: if the data set or the run's config.yaml cannot be read.
    """
    loaded = TrainingData(
        read_dataset(root), header.split, header.working_pixel_size_um, header.normalisation, cache_of_run(run)
    )
    same = loaded.recognised(header).mosaics_id == loaded.ids.mosaics
    return replace(loaded, split=header.parts(loaded.contents)) if same and header.contents else loaded, same


def make_cache(data: DataSection) -> MosaicCache:
    """The cache of decoded mosaics."""
    return MosaicCache(Path(data.cache_dir) if data.cache_dir else default_folder(), data.cache_gb * 1e9)


def cache_of_run(run: RunFolder) -> MosaicCache:
    """The cache that a run is configured to use; the default one where the folder is no run's.

    Raises:
        InputError: if its config.yaml cannot be read.
    """
    return make_cache(read_config(run.config).data) if run.config.is_file() else MosaicCache()


def draw_folds(dataset: Dataset, data: DataSection, working_pixel_size_um: float | None, cache: MosaicCache) -> Folds:
    """The folds that a configuration asks for; the same whenever they are drawn from the same data set.

    Args:
        dataset: of which every labelled mosaic is opened, to count its classes on the working grid.
        data: with `fold` set.
        working_pixel_size_um: of the working grid.
        cache: of decoded mosaics.

    Raises:
        InputError: if the data set cannot be folded so.
    """
    rule = data.fold_rule
    assert rule is not None
    labelled = [entry for entry in dataset.entries if entry.label is not None]
    nothing = {entry.mosaic: np.zeros(len(dataset.classes), np.int64) for entry in labelled}
    make_folds(dataset, rule, nothing)  # what cannot be folded is refused before every mosaic is decoded
    mosaics = open_dataset_mosaics(
        dataset, labelled, working_pixel_size_um=working_pixel_size_um, normalisation=data.normalisation, cache=cache
    )
    pixels = class_pixels(mosaics, len(dataset.classes))
    return Folds(dataset, rule, tuple(make_folds(dataset, rule, pixels)), pixels)


def patch_geometry(data: DataSection, loaded: TrainingData, alignment: int) -> PatchGeometry:
    """Window, stride and patch in px: the configuration's, else the data set's, else the paper's.

    Args:
        data: the configuration.
        loaded: the data set.
        alignment: of the network; physical lengths are rounded up to it, the patch always.

    Raises:
        InputError: if a length makes no sense, or the patch does not fit into the window.
    """
    working, px = loaded.working_pixel_size_um, {}
    for name, default in DEFAULT_LENGTHS.items():
        stored = getattr(loaded.dataset, name) or parse_length(default[working is None])
        try:
            length = parse_length(getattr(data, name) or stored)
        except InputError as error:
            raise InputError(f"data.{name}: {error}") from None
        px[name] = length.to_px(working, alignment)
    try:
        return PatchGeometry(**px)
    except ValueError as error:
        raise InputError(f"data.window, data.stride, data.patch: {error}") from None
