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
from rcm_cascade.data.formats import PixelSizeSource, pixel_size, read_image, read_labels
from rcm_cascade.data.intensity import Intensity, Normalisation, measure, to_uint8
from rcm_cascade.data.manifest import Dataset, MosaicEntry
from rcm_cascade.data.resample import ResolutionWarning, majority_resample, resampled_shape, resize_image
from rcm_cascade.errors import InputError
from rcm_cascade.progress import progress_bar

DEFAULT_WORKING_PIXEL_SIZE_UM = 1.0


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
        native_shape: height and width on the mosaic's own grid, in px.
        native_pixel_size_um: µm per pixel of the mosaic's own grid; None: not known.
        pixel_size_source: where that is from: given, manifest, file, dataset, assumed, or unknown.
        working_pixel_size_um: µm per pixel of the working grid; None: it is the mosaic's own grid.
        label_path: of the label map.
        image_path: of the mosaic; None: it lives in memory only, and its own grid is the working grid.
        classes: of the label map.
        cache: where the arrays on the mosaic's own grid are kept.
    """

    name: str
    patient: str
    site: str
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    intensity: Intensity
    native_shape: tuple[int, int]
    native_pixel_size_um: float | None = None
    pixel_size_source: PixelSizeSource | Literal["given", "assumed"] = "unknown"
    working_pixel_size_um: float | None = None
    label_path: Path | None = None
    image_path: Path | None = None
    classes: ClassTable | None = None
    cache: MosaicCache | None = None

    def native_image(self) -> NDArray[np.uint8]:
        """Grey levels ``(H, W)`` uint8 on the mosaic's own grid, memory-mapped.

        Raises:
            InputError: if the file has been damaged since the mosaic was opened.
        """
        if self.image.shape == self.native_shape or self.cache is None or self.image_path is None:
            return self.image
        return _native_image(self.image_path, self.cache)[0]

    def native_labels(self) -> NDArray[np.uint8] | None:
        """Class ids and 255, ``(H, W)`` uint8 on the mosaic's own grid, memory-mapped; None: not labelled.

        Raises:
            InputError: if the label map has been damaged since the mosaic was opened.
        """
        if self.image.shape == self.native_shape or self.cache is None or self.classes is None:
            return self.labels
        if self.label_path is None:
            return None
        return _native_labels(self.label_path, self.classes, self.native_shape, self.cache)[0]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for name in ("image", "labels"):
            path = None if state[name] is None else cache_file(state[name])
            if path is not None:
                state[name] = path
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            mapped = name in ("image", "labels") and isinstance(value, Path)
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
    image_path: str | Path,
    *,
    label_path: str | Path | None = None,
    name: str | None = None,
    patient: str | None = None,
    site: str = "",
    classes: ClassTable,
    manifest_pixel_size_um: float | None = None,
    dataset_pixel_size_um: float | None = None,
    working_pixel_size_um: float | None,
    assume: bool = False,
    normalisation: Normalisation = "mosaic",
    cache: MosaicCache,
) -> Mosaic:
    """Opens a mosaic; the first time it is decoded and resampled into the cache, later that takes milliseconds.

    Warns with a `ResolutionWarning` if the mosaic is coarser than the working grid or its pixel size is assumed.

    Args:
        image_path: any format that `read_image` reads.
        label_path: of the label map; None: not labelled.
        name: by which splits and reports know it; the file name where none is given.
        patient: the name where none is given.
        site: of acquisition or body.
        classes: of the label map.
        manifest_pixel_size_um: goes before what the file states.
        dataset_pixel_size_um: goes behind what the file states.
        working_pixel_size_um: µm per pixel of the working grid; None: the mosaic's own grid.
        assume: whether a mosaic of unknown pixel size is taken to have the working one.
        normalisation: how grey levels become network input.
        cache: where the arrays are kept.

    Raises:
        InputError: if a file cannot be read (see `read_image`, `read_labels`), the pixel size is not known though a
            working one is given, or the mosaic is too coarse.
    """
    image_path = Path(image_path)
    name = name or image_path.name
    source: PixelSizeSource | Literal["given", "assumed"]
    native_um, source = pixel_size(image_path, manifest_pixel_size_um, dataset_pixel_size_um)
    if native_um is None and working_pixel_size_um is not None:
        if not assume:
            raise InputError(
                f"the pixel size of {image_path} is not known and the working one is {working_pixel_size_um:g} µm; add "
                "pixel_size_um to manifest.csv or dataset.yaml, or set working_pixel_size_um to native"
            )
        native_um, source = working_pixel_size_um, "assumed"
        warnings.warn(
            f"{image_path} states no pixel size; {working_pixel_size_um:g} µm is assumed; state it in the "
            "manifest, or by annotate --pixel-size",
            ResolutionWarning,
            stacklevel=2,
        )
    native, key = _native_image(image_path, cache)
    shape = native_shape = (native.shape[0], native.shape[1])
    if native_um is not None and working_pixel_size_um is not None:
        shape = resampled_shape(native_shape, native_um, working_pixel_size_um, str(image_path))
    image, labels = native, None
    if shape != native_shape:
        image = cache.get(cache.key("working image", key, shape), lambda: resize_image(native, shape))
    if label_path is not None:
        label_path = Path(label_path)
        native_labels, key = _native_labels(label_path, classes, native_shape, cache)
        labels = native_labels
        if shape != native_shape:
            labels = cache.get(cache.key("working labels", key, shape), lambda: majority_resample(native_labels, shape))
    return Mosaic(
        name=name,
        patient=patient or name,
        site=site,
        image=image,
        labels=labels,
        intensity=measure(image, normalisation),
        native_shape=native_shape,
        native_pixel_size_um=native_um,
        pixel_size_source=source,
        working_pixel_size_um=working_pixel_size_um,
        label_path=label_path,
        image_path=image_path,
        classes=classes,
        cache=cache,
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
    entries, mosaics = list(entries), []
    with progress_bar("opening mosaics", len(entries), "mosaics") as advance:
        for entry in entries:
            mosaic = open_mosaic(
                entry.image,
                label_path=entry.label,
                name=entry.mosaic,
                patient=entry.patient,
                site=entry.site,
                classes=dataset.classes,
                manifest_pixel_size_um=entry.pixel_size_um,
                dataset_pixel_size_um=dataset.pixel_size_um,
                working_pixel_size_um=working_pixel_size_um,
                normalisation=normalisation,
                cache=cache,
            )
            mosaics.append(mosaic)
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
        return DEFAULT_WORKING_PIXEL_SIZE_UM
    warnings.warn(
        f"data set {dataset.root} states no pixel size; mosaics are worked on as they are, and lengths must be in px",
        ResolutionWarning,
        stacklevel=2,
    )
    return None


def _native_image(path: Path, cache: MosaicCache) -> tuple[NDArray[np.uint8], str]:
    """8-bit grey levels on the mosaic's own grid, and their key."""
    key = cache.key("image", cache.content(path))
    return cache.get(key, lambda: to_uint8(read_image(path))), key


def _native_labels(
    path: Path, classes: ClassTable, shape: tuple[int, int], cache: MosaicCache
) -> tuple[NDArray[np.uint8], str]:
    """Labels on the mosaic's own grid, and their key."""
    key = cache.key("labels", cache.content(path), len(classes), shape)
    return cache.get(key, lambda: read_labels(path, classes, shape)), key
