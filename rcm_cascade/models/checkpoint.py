"""What a checkpoint says beside its weights: all that annotation needs, in plain types."""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import pydantic.dataclasses
import torch
from pydantic import ConfigDict, Field, InstanceOf
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rcm_cascade import __version__
from rcm_cascade.classes import ClassTable
from rcm_cascade.data.intensity import Normalisation
from rcm_cascade.data.manifest import SplitName
from rcm_cascade.errors import InputError, reason
from rcm_cascade.files import written_whole
from rcm_cascade.models.registry import Arguments, Network, read_arguments

HEADER: Final = "rcm_cascade"
"""The key of the header, in a .ckpt file and, as JSON, in the metadata of a .safetensors file."""

SUFFIX: Final = ".safetensors"
CHECKSUM: Final = "sha256"
NETWORK_PREFIX: Final = "network."
FORMAT: Final = 1

_DAMAGED: Final = OSError, EOFError, RuntimeError, pickle.UnpicklingError, SafetensorError, zipfile.BadZipFile
_ANOTHER_PROGRAMS: Final = LookupError, TypeError, AttributeError, ValueError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class CheckpointHeader:
    """The part of a checkpoint under the key ``rcm_cascade``.

    Args:
        model: arguments of the network.
        classes: the class table it was trained with.
        working_pixel_size_um: µm per pixel at which the network works; None: each mosaic's own grid.
        normalisation: how grey levels become network input.
        dataset: name of the training data set.
        dataset_id: identity of the training data set, all that scores depend on; see `rcm_cascade.data.ids`.
        mosaics_id: identity of its mosaics, to which the split belongs; empty: written before there was one.
        split: ``{mosaic: "train" | "val" | "test"}`` of that data set, by the manifest's ``mosaic`` column.
        contents: of each mosaic in the split, as `rcm_cascade.data.ids.mosaic_ids` has it; empty: written before.
        patients: of each mosaic whose patient is given, as `rcm_cascade.data.ids.patient_ids` has it.
        synthetic: trained on phantoms; every output says so.
        temperature: by which logits are divided before their softmax is read as a probability; fitted on validation
            mosaics, 1 until then. It changes no label.
        init: SHA-256 of the file whose weights training began with; empty: it began with random ones.
        version: of rcm_cascade that wrote it.

    Raises:
        ValueError: if a value is not of its type, the temperature or the working pixel size is not a number above 0,
            the normalisation is not known, or the class table is not the network's.
    """

    model: InstanceOf[Arguments]
    classes: InstanceOf[ClassTable]
    working_pixel_size_um: Positive | None
    normalisation: Normalisation = "mosaic"
    dataset: str = ""
    dataset_id: str = ""
    mosaics_id: str = ""
    split: Mapping[str, SplitName] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    temperature: Positive = 1.0
    init: str = ""
    version: str = __version__

    def __post_init__(self) -> None:
        if self.model.num_classes != len(self.classes):
            raise ValueError(f"the network has {self.model.num_classes} classes and the table {len(self.classes)}")

    def parts(self, contents: Mapping[str, str]) -> dict[str, SplitName]:
        """What mosaics were used for in the training, whatever their files are called by now; others are left out.

        Args:
            contents: of the mosaics in question, as the header's.
        """
        order = "test", "val", "train"  # of files with one content: what counts is that it was trained on
        known = {self.contents.get(m): p for wanted in order for m, p in self.split.items() if p == wanted}
        kept = {m for m in self.split if self.contents.get(m) == contents.get(m)}
        return {m: self.split[m] if m in kept else known[c] for m, c in contents.items() if c in known}

    def to_plain(self) -> dict[str, Any]:
        """Plain types only, so that ``torch.load(weights_only=True)`` reads it."""
        model, classes = self.model.to_plain(), self.classes.to_plain()
        by_mosaic = {key: dict(getattr(self, key)) for key in ("split", "contents", "patients")}
        return {"format": FORMAT, **vars(self), "model": model, "classes": classes, **by_mosaic}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "CheckpointHeader":
        """The inverse of `to_plain`."""
        rest = {k: v for k, v in plain.items() if k not in ("format", "model", "classes")}
        return cls(model=read_arguments(plain["model"]), classes=ClassTable.from_plain(plain["classes"]), **rest)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network in eval mode, on the CPU, float32, and the header it came with."""

    network: Network
    header: CheckpointHeader
    path: Path


def load_checkpoint(path: str | Path) -> LoadedCheckpoint:
    """Reads a checkpoint: a .ckpt file of `rcm-cascade train`, or a .safetensors file that was exported from one.

    Nothing in the file is executed, and what it says of itself is checked, whichever of the two it is.

    Raises:
        InputError: if the file is missing, damaged, of another program, of a newer format, or holds a weight that is no
            finite number.
    """
    plain, weights = read_plain(Path(path))
    with _no_contradiction(path):
        header = CheckpointHeader.from_plain(plain)
        # Compared before anything is allocated: a header may claim a network of any size.
        for name, shape in weight_shapes(header.model).items():
            if name not in weights or weights[name].shape != shape:
                found = "missing" if name not in weights else tuple(weights[name].shape)
                raise ValueError(f"{name} is {found}, the network it claims to be has {tuple(shape)}")
        network = header.model.build()
        network.load_state_dict(weights)
    refuse_not_finite(weights, path, "used")
    return LoadedCheckpoint(network.eval(), header, Path(path))


def read_header(path: str | Path) -> CheckpointHeader:
    """A checkpoint's header alone: the network is not built, and its weights are neither read nor compared with it.

    Raises:
        InputError: as `load_checkpoint` does.
    """
    plain, _ = read_plain(Path(path))
    with _no_contradiction(path):
        return CheckpointHeader.from_plain(plain)


@contextmanager
def _no_contradiction(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"checkpoint {path} contradicts itself ({reason(error)}); train again or use another"
        ) from error


def read_plain(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    """What a checkpoint says of itself, and its weights on the CPU by their names in the network.

    Nothing has been checked but that both are there, and as they were written. The libraries execute nothing in a file,
    and check its sizes and offsets before they read a tensor.

    Raises:
        InputError: if the file is missing, unreadable, damaged, of another program, or of a newer format.
    """
    if not path.is_file():
        raise InputError(
            f"checkpoint {path} does not exist; give a .ckpt file, such as runs/<run>/checkpoints/best.ckpt"
        )
    try:
        if path.suffix.lower() == SUFFIX:
            with safe_open(path, framework="pt", device="cpu") as file:
                told = json.loads((file.metadata() or {})[HEADER])
                plain = {**told["header"]}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
            if told.pop(CHECKSUM, None) not in (None, checksum(told, path.read_bytes())):
                raise SafetensorError
        else:
            with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums with what it reads
                if any(record.compress_type for record in archive.infolist()) or archive.testzip():
                    raise zipfile.BadZipFile
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)  # weights are read when used
            plain = {**content[HEADER]}
            weights = {str(name).removeprefix(NETWORK_PREFIX): v for name, v in content["state_dict"].items()}
    except (*_DAMAGED, *_ANOTHER_PROGRAMS) as error:
        raise InputError(
            f"checkpoint {path} cannot be read ({type(error).__name__}); it is damaged or not one of rcm-cascade: give "
            f"a .ckpt file that `rcm-cascade train` wrote, or a {SUFFIX} file exported from one, or export it again"
        ) from error
    if plain.get("format") != FORMAT:
        raise InputError(
            f"checkpoint {path} has format {plain.get('format')}, this version reads {FORMAT}; "
            "install the version of rcm-cascade that wrote it"
        )
    return plain, weights


def checksum(told: Mapping[str, Any], content: bytes) -> str:
    """SHA-256 of what a .safetensors file tells under `HEADER` and of its tensors; the format itself has none.

    Args:
        told: plain types, without the checksum.
        content: of a file with these tensors.
    """
    tensors = memoryview(content)[8 + int.from_bytes(content[:8], "little") :]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode() + tensors).hexdigest()


def not_finite(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By name, whether a tensor holds a number that is not finite; still on its device, so that nobody waits for it."""
    return {name: ~tensor.isfinite().all() for name, tensor in weights.items()}


def refuse_not_finite(weights: Mapping[str, Tensor], path: str | Path, done: str) -> None:
    """Refuses weights and buffers of which one is no finite number: what they would compute is none, either.

    Args:
        weights: by name.
        path: of the checkpoint.
        done: what is not done with it then: used or written.

    Raises:
        InputError: naming the first.
    """
    if bad := [name for name, flag in not_finite(weights).items() if flag]:
        raise InputError(
            f"checkpoint {path} cannot be {done}: {bad[0]} ({len(bad)} of {len(weights)} tensors) holds a number that "
            "is not finite; train again with a lower optim.lr, or use another"
        )


def weight_shapes(arguments: Arguments) -> dict[str, torch.Size]:
    """The shapes of a network's weights and buffers, by name, without making any of them."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in arguments.build().state_dict().items()}


def store_temperature(path: str | Path, temperature: float) -> None:
    """Writes a temperature into a checkpoint's header; all else stays, and the file is replaced whole or not at all.

    Args:
        path: a .ckpt file.
        temperature: as `CheckpointHeader` has it.

    Raises:
        InputError: as `load_checkpoint` does, or if the file cannot be written.
        ValueError: if the temperature is not a number above 0.
    """
    header = replace(read_header(path), temperature=temperature)
    content = torch.load(path, map_location="cpu", weights_only=True)
    content[HEADER] = header.to_plain()
    write_checkpoint(content, Path(path))


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Writes a .ckpt file whole or not at all; equal contents make equal files.

    Args:
        content: what Lightning saves, with our header in it.
        path: of the file; one that is there stays as it was until the new one is whole.

    Raises:
        InputError: if it cannot be written, or holds a weight that is no finite number.
    """
    refuse_not_finite(content.get("state_dict", {}), path, "written")
    try:
        with written_whole(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)  # given a path, it would write the temporary name into the file
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        said = error.__context__ if isinstance(error.__context__, OSError) else error
        raise InputError(
            f"checkpoint {path} cannot be written ({str(said).splitlines()[0]}); make room on the disk, or allow "
            "writing there, and try again"
        ) from error


def digest(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint's file, in hexadecimal.

    Raises:
        OSError: if it cannot be read.
    """
    with checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
