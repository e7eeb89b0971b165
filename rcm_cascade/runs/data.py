"""From what the user named to mosaics ready to train or evaluate on."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import yaml
from filelock import FileLock

from rcm_cascade.data.cache import MosaicCache, default_folder
from rcm_cascade.data.header import Length, parse_length
from rcm_cascade.data.ids import DatasetIds, dataset_ids
from rcm_cascade.data.intensity import Normalisation
from rcm_cascade.data.manifest import Dataset, MosaicEntry, SplitName, read_dataset
from rcm_cascade.data.mosaic import Mosaic, open_dataset_mosaics, resolve_working_pixel_size
from rcm_cascade.data.splits import keep_training_patients, make_split, patients_straddling, split_id
from rcm_cascade.data.windows import PatchGeometry
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.phantom import GENERATOR, write_phantoms
from rcm_cascade.runs.config import DataSection, PhantomSection
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
    if data.source == "folder":
        return folder
    p = data.phantom
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # of several jobs that begin at once, one generates
        if (folder / "dataset.yaml").is_file():
            _refuse_others(folder, p)
        else:
            print(f"generating {p.mosaics} phantom mosaics in {folder} (synthetic; once)", file=sys.stderr)
            write_phantoms(folder, **p.model_dump())
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
    return Path("phantoms") / phantom_name(data.phantom)


def _refuse_others(folder: Path, wanted: PhantomSection) -> None:
    """Refuses a folder that holds something else than the phantoms wanted."""
    record = folder / "phantom.yaml"
    if not record.is_file():
        raise InputError(f"{folder} holds no phantoms; train on your own mosaics with data=folder data.root={folder}")
    recorded = yaml.safe_load(record.read_text())
    if recorded.get("generator", 1) != GENERATOR:
        raise InputError(
            f"{folder} holds phantoms of another version of the generator ({recorded.get('generator', 1)}; this one is "
            f"{GENERATOR}); delete it and they are made anew, or name another folder with data.root"
        )
    made = recorded["arguments"]
    asked = wanted.model_dump(mode="json") | {"patients": wanted.patients or wanted.mosaics}
    other = [f"{key}: {made.get(key)} → {value}" for key, value in asked.items() if made.get(key) != value]
    if other:
        raise InputError(
            f"{folder} holds phantoms of other parameters ({'; '.join(other)}); name another folder with data.root, or "
            "delete this one"
        )


def phantom_name(p: PhantomSection) -> str:
    """A folder's name that tells the phantoms' parameters."""
    parts = [f"{p.mosaics}x{p.size_mm[0]:g}x{p.size_mm[1]:g}mm", f"{p.pixel_size_um:g}um", f"seed{p.seed}"]
    if p.patients is not None:
        parts.append(f"{p.patients}patients")
    if p.sites != 1:
        parts.append(f"{p.sites}sites")
    if p.deformed_meshwork is not None:
        parts.append(f"deformed{p.deformed_meshwork:g}")
    return "-".join(parts)


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
    working = loaded.working_pixel_size_um
    asked = {
        "window": (data.window, loaded.dataset.window),
        "stride": (data.stride, loaded.dataset.stride),
        "patch": (data.patch, loaded.dataset.patch),
    }
    px = {
        name: _length(name, given, stored, working).to_px(working, alignment) for name, (given, stored) in asked.items()
    }
    try:
        return PatchGeometry(**px)
    except ValueError as error:
        raise InputError(f"data.window, data.stride, data.patch: {error}") from None


def _length(name: str, given: str | None, stored: Length | None, working: float | None) -> Length:
    if given is not None:
        try:
            return parse_length(given)
        except InputError as error:
            raise InputError(f"data.{name}: {error}") from None
    return stored or parse_length(DEFAULT_LENGTHS[name][working is None])


def need(mosaics: Sequence[Mosaic], part: SplitName, dataset: Dataset) -> None:
    """Refuses an empty part of a split.

    Raises:
        InputError: if there is no labelled mosaic.
    """
    if not mosaics:
        raise InputError(
            f"{dataset.root} has no labelled mosaic in its {part} split; name some in the split column of "
            "manifest.csv, or give a split file"
        )
