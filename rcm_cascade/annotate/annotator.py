"""A checkpoint that annotates: from a file or array at any pixel size to labels on its own grid."""

import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from rcm_cascade.annotate.backends import AnnotationOptions, Backend, open_backend
from rcm_cascade.annotate.committee import annotate_by_all
from rcm_cascade.annotate.engine import Annotation, LevelPiece, annotate_image, grey_image
from rcm_cascade.annotate.fields import NO_PATTERN, Fields, count_fields, pattern_ids
from rcm_cascade.annotate.lesion import lesion_of_patterns
from rcm_cascade.annotate.regions import LOOK_FIRST, LabelRegion, largest_regions
from rcm_cascade.classes import ClassTable
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.intensity import measure
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import DATASET_FILE, MosaicEntry, read_dataset
from rcm_cascade.data.mosaic import Mosaic, open_mosaic
from rcm_cascade.data.resample import ResolutionWarning, area_resample, nearest_resample
from rcm_cascade.errors import InputError
from rcm_cascade.files import printable
from rcm_cascade.models import Network
from rcm_cascade.models.checkpoint import CheckpointHeader, digest, load_checkpoint
from rcm_cascade.progress import Advance

SYNTHETIC: Final = "trained on synthetic mosaics: reads no tissue"

UNNAMED: Final = "array"
"""Name of a mosaic that was given as an array."""


@dataclass(frozen=True, eq=False)
class MosaicAnnotation:
    """A mosaic's labels on its own grid, and all that its report needs.

    Args:
        mosaic: as the network saw it, on the working grid.
        annotation: on the working grid, with tile, precision, backend and time.
        labels: class ids ``(H, W)`` uint8 on the mosaic's own grid.
        header: of the network's checkpoint: classes, and what it was trained on.
        checkpoint: file name; empty for a network that came from no file.
        checkpoint_sha256: of the file's content; empty likewise.
        source_sha256: of the mosaic's file; empty for an array.
        read_s: seconds from file or array to the working grid; None: not measured.
        entropy: of the class probabilities, ``(H, W)`` uint8 on the mosaic's own grid, 255 being the largest there is;
            None: not asked for.
        lesion_mask: ``(H, W)`` bool, as somebody has drawn it; None: nobody has.
    """

    mosaic: Mosaic
    annotation: Annotation
    labels: NDArray[np.uint8]
    header: CheckpointHeader
    checkpoint: str
    checkpoint_sha256: str
    source_sha256: str
    read_s: float | None
    entropy: NDArray[np.uint8] | None = None
    lesion_mask: NDArray[np.bool_] | None = None

    @property
    def classes(self) -> ClassTable:
        """Of the labels."""
        return self.header.classes

    @property
    def pixel_size_um(self) -> float | None:
        """µm per pixel of the mosaic's own grid; None: not known."""
        return self.mosaic.native_pixel_size_um

    @cached_property
    def regions(self) -> list[LabelRegion]:
        """Where a reader should look first, largest first; none for class tables without the names of `LOOK_FIRST`."""
        names = self.classes.names
        return largest_regions(self.labels, [names.index(name) for name in LOOK_FIRST if name in names])

    @cached_property
    def fields(self) -> Fields:
        """The labels by field of 0.5 mm."""
        return count_fields(self.labels, self.pixel_size_um, self.entropy)

    @cached_property
    def lesion(self) -> NDArray[np.bool_] | None:
        """Where the lesion lies: as drawn, else the area of its patterns; None where the class table names none."""
        if self.lesion_mask is not None or not set(NO_PATTERN) <= set(self.classes.names):
            return self.lesion_mask
        return lesion_of_patterns(self.labels, pattern_ids(self.classes), self.pixel_size_um)

    @cached_property
    def truth(self) -> NDArray[np.uint8] | None:
        """Labels drawn by hand, ``(H, W)`` uint8; None: the mosaic lies in no dataset folder, or has none there."""
        image = self.mosaic.image_path
        with suppress(InputError):  # of a data set that cannot be read nothing is known
            for root in [] if image is None else image.absolute().parents:
                if image is not None and (root / DATASET_FILE).is_file():
                    found = (entry.label for entry in read_dataset(root).entries if entry.image.samefile(image))
                    label = next(found, None)
                    return None if label is None else read_labels(label, self.classes, self.mosaic.native_shape)
        return None

    @property
    def note(self) -> str:
        """What every output says of a network that was trained on phantoms; empty of others."""
        return SYNTHETIC if self.header.synthetic else ""

    def area_mm2(self, pixels: int) -> float | None:
        """Area of some px of the mosaic's own grid; None: its pixel size is not known."""
        return None if self.pixel_size_um is None else pixels * self.pixel_size_um**2 / 1e6

    def level_map(self, level: int) -> NDArray[np.uint8]:
        """One level's class ids on the mosaic's own grid, ``(H, W)`` uint8, enlarged by nearest neighbour.

        Args:
            level: 0 is the coarsest.

        Raises:
            IndexError: if there is no such level, or levels were not asked for.
        """
        ids, factor = self.annotation.level_labels[level], self.annotation.factors[level]
        height, width = self.annotation.labels.shape
        enlarged = ids.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]
        return nearest_resample(enlarged, (self.labels.shape[0], self.labels.shape[1]))


@dataclass(eq=False)
class Annotator:
    """A network, and what its checkpoint says of it.

    Args:
        network: on the device to compute on.
        header: classes, working pixel size and normalisation.
        checkpoint: its file, beside which int8 graphs may lie; None: the network came from no file.
        checkpoint_sha256: of the file's content, for reports.
        cache: of decoded mosaics, the user's unless given.
        others: whose probabilities are averaged with this one's; of the same classes and working grid.
    """

    network: Network
    header: CheckpointHeader
    checkpoint: Path | None = None
    checkpoint_sha256: str = ""
    cache: MosaicCache = field(default_factory=MosaicCache)
    others: tuple["Annotator", ...] = ()
    _backends: dict[tuple[str, str], Backend] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def load(cls, checkpoint: str | Path, device: str = "auto", cache: MosaicCache | None = None) -> "Annotator":
        """Reads a checkpoint of `rcm-cascade train`.

        Args:
            checkpoint: a .ckpt file, or a .safetensors file that was exported from one.
            device: ``auto`` (a GPU where there is one, else the CPU) or a name that PyTorch knows, such as ``cuda:1``.
            cache: of decoded mosaics; None: the user's.

        Raises:
            InputError: if the checkpoint cannot be used.
            RuntimeError: of PyTorch, if the device is not there.
        """
        loaded = load_checkpoint(checkpoint)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        network = loaded.network.to(device)
        return cls(network, loaded.header, loaded.path, digest(loaded.path), cache or MosaicCache())

    @classmethod
    def load_all(
        cls, checkpoints: Sequence[str | Path], device: str = "auto", cache: MosaicCache | None = None
    ) -> "Annotator":
        """Reads several checkpoints, such as folds or seeds, that annotate together.

        Args:
            checkpoints: at least one.
            device: as in `load`.
            cache: as in `load`.

        Raises:
            InputError: if one cannot be used, or has other classes, working pixel size or normalisation than the first.
        """
        first, *others = (cls.load(checkpoint, device, cache) for checkpoint in checkpoints)
        for path, other in zip(checkpoints[1:], others, strict=True):
            for what in ("class names", "working pixel size", "normalisation"):
                if _trained(first.header)[what] != _trained(other.header)[what]:
                    raise InputError(
                        f"{path} differs from {checkpoints[0]} in its {what}; average networks that were trained alike"
                    )
        return replace(first, others=tuple(others))

    @property
    def name(self) -> str:
        """Of the checkpoint's file, and those of the others."""
        names = [each.checkpoint.name for each in (self, *self.others) if each.checkpoint is not None]
        return ", ".join(map(printable, names))

    @property
    def sha256(self) -> str:
        """Of the checkpoint's content; of several one of all."""
        if not self.others:
            return self.checkpoint_sha256
        together = " ".join(each.checkpoint_sha256 for each in (self, *self.others))
        return hashlib.sha256(together.encode()).hexdigest()

    @property
    def synthetic(self) -> bool:
        """Whether one of the networks was trained on phantoms."""
        return any(each.header.synthetic for each in (self, *self.others))

    def prepare(self, options: AnnotationOptions | None = None) -> Backend:
        """What runs the network, made once and kept: annotating later asks for it too.

        Args:
            options: of which precision and backend count here.

        Raises:
            InputError: for an unknown name, a backend that is not there, or int8 of a network that was not quantised.
        """
        options = options or AnnotationOptions()
        key = options.backend, options.precision
        if key not in self._backends:
            self._backends[key] = open_backend(self.network, *key, self.checkpoint)
        return self._backends[key]

    def open(
        self, path_or_array: str | Path | NDArray[np.uint8] | NDArray[np.uint16], *, pixel_size_um: float | None = None
    ) -> Mosaic:
        """Opens a mosaic at this network's working pixel size.

        Warns with a `ResolutionWarning` if its pixel size is not known and the working one is assumed.

        Args:
            path_or_array: a file of any format that the data set folder knows, or ``(H, W)`` uint8 or uint16.
            pixel_size_um: goes before what the file states.

        Raises:
            InputError: if the file cannot be read or its pixels are too coarse.
            TypeError: if an array is neither uint8 nor uint16.
        """
        if pixel_size_um is not None and not 0 < pixel_size_um < float("inf"):
            raise InputError(f"the pixel size is {pixel_size_um:g} µm; expected a number above 0")
        working = self.header.working_pixel_size_um
        if isinstance(path_or_array, np.ndarray):
            mosaic = self._from_array(grey_image(path_or_array), pixel_size_um)
        else:
            path = Path(path_or_array)
            entry = MosaicEntry(printable(path.name), path, pixel_size_um=pixel_size_um)
            mosaic = open_mosaic(entry, self.header.classes, self.cache, working, self.header.normalisation, working)
        if mosaic.pixel_size_source == "manifest":  # there is none: the size was given
            return replace(mosaic, pixel_size_source="given")
        if mosaic.pixel_size_source == "dataset":  # there is none: it is the working size
            warnings.warn(
                f"{mosaic.image_path or 'the array'} states no pixel size; {working:g} µm is assumed; state it in the "
                "manifest, or by annotate --pixel-size",
                ResolutionWarning,
                stacklevel=2,
            )
            return replace(mosaic, pixel_size_source="assumed")
        return mosaic

    def _from_array(self, native: NDArray[np.uint8], pixel_size_um: float | None) -> Mosaic:
        """A mosaic that lives in memory alone."""
        working = self.header.working_pixel_size_um
        native_um = working if pixel_size_um is None else pixel_size_um
        image = native if native_um is None or working is None else area_resample(native, native_um, working)
        return Mosaic(
            name=UNNAMED,
            patient=UNNAMED,
            site="",
            image=image,
            labels=None,
            intensity=measure(image, self.header.normalisation),
            native_image=native,
            native_pixel_size_um=native_um,
            pixel_size_source="unknown" if native_um is None else "dataset" if pixel_size_um is None else "manifest",
            working_pixel_size_um=working,
        )

    def annotate(
        self,
        path_or_array: str | Path | NDArray[np.uint8] | NDArray[np.uint16],
        options: AnnotationOptions | None = None,
        *,
        pixel_size_um: float | None = None,
        progress: Advance | None = None,
        entropy: bool = False,
    ) -> MosaicAnnotation:
        """Annotates one mosaic.

        Warns with a `ResolutionWarning` if its pixel size is not known and the working one is assumed.

        Args:
            path_or_array: a file, or ``(H, W)`` uint8 or uint16.
            options: tile, memory, precision and backend.
            pixel_size_um: µm per pixel; goes before what the file states.
            progress: as in `annotate_image`, in megapixels of the working grid.
            entropy: whether `MosaicAnnotation.entropy` is wanted too.

        Raises:
            InputError: if the file cannot be read, its pixels are too coarse, or an option is wrong.
            TypeError: if an array is neither uint8 nor uint16.
        """
        started = time.perf_counter()
        mosaic = self.open(path_or_array, pixel_size_um=pixel_size_um)
        read_s = time.perf_counter() - started
        return self.annotate_mosaic(mosaic, options, progress=progress, read_s=read_s, entropy=entropy)

    def annotate_mosaic(
        self,
        mosaic: Mosaic,
        options: AnnotationOptions | None = None,
        *,
        progress: Advance | None = None,
        read_s: float | None = None,
        levels: bool = False,
        entropy: bool = False,
        observe: Callable[[LevelPiece], None] | None = None,
    ) -> MosaicAnnotation:
        """Annotates a mosaic that is open already, at this network's working pixel size.

        Args:
            mosaic: of `open`, or of a data set opened at the header's working pixel size.
            options: as in `annotate`.
            progress: as in `annotate_image`, in megapixels of the working grid.
            read_s: how long opening it took, for the report.
            levels: whether `MosaicAnnotation.level_map` is wanted too.
            entropy: whether `MosaicAnnotation.entropy` is wanted too, at the checkpoint's temperature.
            observe: as in `annotate_image`, on the working grid.

        Raises:
            InputError: if the mosaic is on another grid, or an option is wrong.
            ValueError: if levels or an observer are wanted of several networks.
        """
        if mosaic.working_pixel_size_um != self.header.working_pixel_size_um:
            raise InputError(
                f"mosaic {mosaic.name} is open at {_size(mosaic.working_pixel_size_um)} and the network works at "
                f"{_size(self.header.working_pixel_size_um)}; open it at the network's"
            )
        options = options or AnnotationOptions()
        if self.others:
            if levels or observe is not None:
                raise ValueError("levels and an observer are of one network")
            members = [(each.prepare(options), each.header.temperature) for each in (self, *self.others)]
            annotation = annotate_by_all(members, mosaic.image, options, intensity=mosaic.intensity, progress=progress)
        else:
            annotation = annotate_image(
                self.prepare(options),
                mosaic.image,
                options,
                intensity=mosaic.intensity,
                progress=progress,
                levels=levels,
                temperature=self.header.temperature if entropy else None,
                observe=observe,
            )
        return MosaicAnnotation(
            mosaic=mosaic,
            annotation=annotation,
            labels=nearest_resample(annotation.labels, mosaic.native_shape),
            header=replace(self.header, synthetic=self.synthetic),
            checkpoint=self.name,
            checkpoint_sha256=self.sha256,
            source_sha256="" if mosaic.image_path is None else self.cache.content(mosaic.image_path),
            read_s=read_s,
            entropy=None if annotation.entropy is None else nearest_resample(annotation.entropy, mosaic.native_shape),
        )


def _size(pixel_size_um: float | None) -> str:
    return "its own pixel size" if pixel_size_um is None else f"{pixel_size_um:g} µm"


def _trained(header: CheckpointHeader) -> dict[str, object]:
    """In what networks must be alike whose probabilities are averaged."""
    return {
        "class names": header.classes.names,
        "working pixel size": header.working_pixel_size_um,
        "normalisation": header.normalisation,
    }
