"""A mosaic, opened once: decoded, brought to the working pixel size, memory-mapped."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.cache import MosaicCache, cache_file, reopen
from rcm_cascade.data.formats import PixelSizeSource, pixel_size, read_image
from rcm_cascade.data.intensity import Intensity, Normalisation, measure, to_uint8
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import Dataset, MosaicEntry
from rcm_cascade.data.resample import ResolutionWarning, majority_resample, resampled_shape, resize_image
from rcm_cascade.errors import InputError
from rcm_cascade.progress import progress_bar


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A mosaic on the working grid.

    Pickles in a few kB: arrays that map cache files go by path and are mapped again, so it can be handed to workers.

    Args:
        name: the manifest's ``mosaic`` string.
        patient: as the manifest has it, else the name.
        site: as the manifest has it; may be empty.
        image: grey levels ``(H, W)`` uint8 on the working grid.
        labels: class ids and 255, ``(H, W)`` uint8 on the working grid; None: not labelled.
        intensity: how the grey levels of ``image`` become network input.
        native_image: grey levels, uint8, on the mosaic's own grid; the same array where that is the working grid.
        native_labels: class ids and 255, uint8, on the mosaic's own grid; None: not labelled.
        native_pixel_size_um: µm per pixel of the mosaic's own grid; None: not known.
        pixel_size_source: where that is from.
        working_pixel_size_um: µm per pixel of the working grid; None: it is the mosaic's own grid.
        image_path: of the mosaic; None: it lives in memory only.
    """

    name: str
    patient: str
    site: str
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    intensity: Intensity
    native_image: NDArray[np.uint8]
    native_labels: NDArray[np.uint8] | None = None
    native_pixel_size_um: float | None = None
    pixel_size_source: PixelSizeSource = "unknown"
    working_pixel_size_um: float | None = None
    image_path: Path | None = None

    @property
    def native_shape(self) -> tuple[int, int]:
        """Height and width on the mosaic's own grid, in px."""
        return self.native_image.shape[0], self.native_image.shape[1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: cache_file(value) or value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            mapped = isinstance(value, Path) and name != "image_path"
            object.__setattr__(self, name, reopen(value) if mapped else value)


def labels_of(mosaic: Mosaic) -> NDArray[np.uint8]:
    """The label map on the working grid; refuses a mosaic without one.

    Raises:
        ValueError: if the mosaic is not labelled.
    """
    if mosaic.labels is None:
        raise ValueError(f"mosaic {mosaic.name} has no label map; expected labelled mosaics only")
    return mosaic.labels


def open_mosaic(
    entry: MosaicEntry,
    classes: ClassTable,
    cache: MosaicCache,
    working_pixel_size_um: float | None,
    normalisation: Normalisation = "mosaic",
    default_pixel_size_um: float | None = None,
) -> Mosaic:
    """Opens a mosaic; the first time it is decoded and resampled into the cache, later that takes milliseconds.

    Warns with a `ResolutionWarning` if the mosaic is coarser than the working grid.

    Args:
        entry: the mosaic and its label map, in any formats that `read_image` and `read_labels` read.
        classes: of the label map.
        cache: where the arrays are kept.
        working_pixel_size_um: µm per pixel of the working grid; None: the mosaic's own grid.
        normalisation: how grey levels become network input.
        default_pixel_size_um: goes behind what the manifest and the file state; the data set's.

    Raises:
        InputError: if a file cannot be read (see `read_image`, `read_labels`), the pixel size is not known though a
            working one is given, or the mosaic is too coarse.
    """
    key = cache.key("image", cache.content(entry.image))
    image = native = cache.get(key, lambda: to_uint8(read_image(entry.image)))
    native_um, source = pixel_size(entry.image, entry.pixel_size_um, default_pixel_size_um)
    if native_um is None and working_pixel_size_um is not None:
        raise InputError(
            f"the pixel size of {entry.image} is not known and the working one is {working_pixel_size_um:g} µm; add "
            "pixel_size_um to manifest.csv or dataset.yaml, or set working_pixel_size_um to native"
        )
    shape = native_shape = (native.shape[0], native.shape[1])
    if native_um is not None and working_pixel_size_um is not None:
        shape = resampled_shape(native_shape, native_um, working_pixel_size_um, str(entry.image))
    if shape != native_shape:
        image = cache.get(cache.key("working image", key, shape), lambda: resize_image(native, shape))
    labels = native_labels = None
    if (path := entry.label) is not None:
        key = cache.key("labels", cache.content(path), [c.color for c in classes.classes], native_shape)
        labels = truth = native_labels = cache.get(key, lambda: read_labels(path, classes, native_shape))
        if shape != native_shape:
            labels = cache.get(cache.key("working labels", key, shape), lambda: majority_resample(truth, shape))
    return Mosaic(
        name=entry.mosaic,
        patient=entry.patient,
        site=entry.site,
        image=image,
        labels=labels,
        intensity=measure(image, normalisation),
        native_image=native,
        native_labels=native_labels,
        native_pixel_size_um=native_um,
        pixel_size_source=source,
        working_pixel_size_um=working_pixel_size_um,
        image_path=entry.image,
    )


def open_dataset_mosaics(
    dataset: Dataset,
    entries: Iterable[MosaicEntry],
    *,
    working_pixel_size_um: float | None,
    cache: MosaicCache,
    normalisation: Normalisation = "mosaic",
) -> list[Mosaic]:
    """Opens mosaics of a data set, in the order given, behind a progress bar.

    Args:
        dataset: the data set.
        entries: those of its mosaics that are wanted.
        working_pixel_size_um: as `resolve_working_pixel_size` gives it.
        cache: where the arrays are kept.
        normalisation: how grey levels become network input.

    Raises:
        InputError: as `open_mosaic`.
    """
    entries, mosaics, classes, stated = list(entries), [], dataset.classes, dataset.pixel_size_um
    with progress_bar("opening mosaics", len(entries), "mosaics") as advance:
        for entry in entries:
            mosaics.append(open_mosaic(entry, classes, cache, working_pixel_size_um, normalisation, stated))
            advance(1)
    return mosaics


def resolve_working_pixel_size(dataset: Dataset, override: float | Literal["native"] | None = None) -> float | None:
    """µm per pixel at which to work: the override, else dataset.yaml, else 1.0 µm; None: each mosaic's own grid.

    A data set in which no pixel size is known works on the mosaics' own grids, with a `ResolutionWarning`.

    Raises:
        InputError: if a mosaic that has to be asked for its pixel size cannot be read.
    """
    wanted = dataset.working_pixel_size_um if override is None else override
    if wanted is not None:
        return None if wanted == "native" else float(wanted)
    known = (pixel_size(entry.image, entry.pixel_size_um, dataset.pixel_size_um)[0] for entry in dataset.entries)
    if any(size is not None for size in known):
        return 1.0
    warnings.warn(
        f"data set {dataset.root} states no pixel size; mosaics are worked on as they are, and lengths must be in px",
        ResolutionWarning,
        stacklevel=2,
    )
    return None
