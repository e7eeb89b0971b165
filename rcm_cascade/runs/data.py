"""From what the user named to mosaics ready to train or evaluate on."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from rcm_cascade.data.cache import MosaicCache, default_folder
from rcm_cascade.data.header import parse_length
from rcm_cascade.data.ids import DatasetIds, dataset_ids
from rcm_cascade.data.intensity import Normalisation
from rcm_cascade.data.manifest import Dataset, MosaicEntry, SplitName, read_dataset
from rcm_cascade.data.mosaic import Mosaic, open_dataset_mosaics, resolve_working_pixel_size
from rcm_cascade.data.splits import keep_training_patients, make_split, patients_straddling, split_id
from rcm_cascade.data.windows import PatchGeometry
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.phantom import ensure_phantoms, phantom_name
from rcm_cascade.runs.config import DataSection
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.folds import Folds, draw_folds
from rcm_cascade.runs.identity import read_config

DEFAULT_LENGTHS: Final = {"window": ("1 mm", "512 px"), "stride": ("0.5 mm", "256 px"), "patch": ("0.5 mm", "256 px")}
"""The paper's lengths, and what stands in for them where no pixel size is known."""


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

    @property
    def facts(self) -> dict[str, str]:
        """What the result of a run depends on beside its configuration, for `changed_data`."""
        ids = {"dataset_id": self.ids.content, "mosaics_id": self.ids.mosaics, "legacy_id": self.ids.legacy}
        return ids | {"split_id": split_id(self.split)}

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


def load_training_data(data: DataSection) -> TrainingData:
    """Reads the data set that a configuration names, splits it and settles the working pixel size.

    Raises:
        InputError: if anything of it is wrong, naming the file.
    """
    loaded = read_training_data(find_dataset(data), data)
    straddling = patients_straddling(loaded.dataset, loaded.split)
    if straddling:
        print(f"warning: patients on both sides of the split: {', '.join(straddling)}", file=sys.stderr)
    return loaded


def read_training_data(folder: Path, data: DataSection) -> TrainingData:
    """A data set that is there, and which mosaic of it a configuration uses for what.

    Raises:
        InputError: if anything of it is wrong, naming the file.
    """
    dataset, cache, folds = read_dataset(folder), make_cache(data.cache_dir, data.cache_gb), None
    if data.fold is None:
        split = make_split(dataset, seed=data.split_seed, split_file=Path(data.split_file) if data.split_file else None)
    else:
        folds = draw_folds(dataset, data, cache)
        split = folds.split(data.fold)
    if data.labelled_fraction is not None:
        split = keep_training_patients(dataset, split, data.labelled_fraction, data.split_seed)
    working = resolve_working_pixel_size(dataset, data.working_pixel_size_um)
    return TrainingData(dataset, split, working, data.normalisation, cache, folds)


def make_cache(folder: str | None, gigabytes: float) -> MosaicCache:
    """The cache of decoded mosaics."""
    return MosaicCache(Path(folder) if folder else default_folder(), gigabytes * 1e9)


def cache_of_run(folder: RunFolder) -> MosaicCache:
    """The cache that a run is configured to use; the default one where the folder is no run's.

    Raises:
        InputError: if its config.yaml cannot be read.
    """
    if not folder.config.is_file():
        return MosaicCache()
    data = read_config(folder.config).data
    return make_cache(data.cache_dir, data.cache_gb)


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
