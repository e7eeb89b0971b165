"""Every defect of a dataset folder at once, rather than the first one that training would meet."""

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.formats import pixel_size, read_image
from rcm_cascade.data.intensity import count_values, to_uint8
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import (
    COLUMNS,
    DATASET_FILE,
    MANIFEST_FILE,
    Header,
    MosaicEntry,
    read_entry,
    read_header,
    read_mosaic_rows,
)
from rcm_cascade.data.resample import nearest_resample, resize_image
from rcm_cascade.errors import InputError
from rcm_cascade.progress import progress_bar

USUAL_UM: Final = (0.05, 20.0)
"""Pixel sizes of microscopes, in µm; what lies outside is mostly in another unit."""

MIXED: Final = 4.0
"""Ratio of the largest to the smallest pixel size of a data set, above which a unit may be wrong."""

SATURATED: Final = 0.05
LEAST_CONTRAST: Final = 8
"""Grey levels from the 5th to the 95th percentile of an image that is not empty."""

BRIGHT: Final = 250
BRIGHT_BORDER: Final = 0.5
"""Share of the border's px that are white, as outside the tissue of an inverted mosaic, whose ground is black."""

SLIVER_PX: Final = 5
SLIVERS: Final = 20
"""Regions of fewer px, and more of them than so many of a class in a mosaic, are slips of a brush: clean labels of
axons have up to ten."""

SAMPLED: Final = 1024
"""One px of so many is a landmark, by its neighbourhood."""

OVERLAP: Final = 0.05
"""Share of the smaller mosaic's landmarks that another one must hold."""

THUMB_PX: Final = 160

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One defect.

    Args:
        level: ``error``: it cannot be trained on; ``warning``: it should be looked at.
        kind: in a word or two, the same for all of a kind.
        mosaic: that it is about; empty: the whole.
        text: what, where, and what helps.
    """

    level: Level
    kind: str
    mosaic: str
    text: str


@dataclass
class Looked:
    """What was seen of a mosaic.

    Args:
        entry: of the manifest.
        areas: px by class id, 256 of them; all 0 without labels.
        thumbnail: grey ``(h, w)`` uint8, 160 px at most; None: it could not be read.
        label_thumbnail: ids, of the same size; None without labels.
        landmarks: hashes of neighbourhoods.
        content: sha256 of the image's grey levels; empty: it could not be read.
        label_content: the same of the label map.
        pixel_size_um: None where it is not known.
    """

    entry: MosaicEntry
    areas: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    thumbnail: NDArray[np.uint8] | None = None
    label_thumbnail: NDArray[np.uint8] | None = None
    landmarks: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    content: str = ""
    label_content: str = ""
    pixel_size_um: float | None = None


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Args:
        header: of dataset.yaml; None: it cannot be read.
        findings: errors first.
        mosaics: those that the manifest names and that are there.
    """

    header: Header | None
    findings: list[Finding]
    mosaics: list[Looked]


def check_dataset(root: Path) -> Checked:
    """Looks at everything in a dataset folder.

    Raises:
        InputError: if it is no folder.
    """
    if not root.is_dir():
        raise InputError(f"data set {root} is no folder; give the folder that holds {DATASET_FILE} and {MANIFEST_FILE}")
    findings: list[Finding] = []
    header: Header | None = None
    rows: list[tuple[str, dict[str, str]]] = []
    faults: list[str] = []
    try:
        header = read_header(root / DATASET_FILE)
    except InputError as error:
        findings.append(Finding("error", "dataset.yaml", "", str(error)))
    try:
        rows = read_mosaic_rows(root / MANIFEST_FILE, COLUMNS, ["mosaic"], faults)
    except InputError as error:
        findings.append(Finding("error", "manifest.csv", "", str(error)))
    findings += [Finding("error", "manifest.csv", "", fault) for fault in faults]
    looked: list[Looked] = []
    with progress_bar("looking at mosaics", len(rows), "mosaics") as advance:
        for where, row in rows:
            try:
                entry = read_entry(root, where, row)
            except InputError as error:
                findings.append(Finding("error", "missing or unusable entry", row["mosaic"], str(error)))
            else:
                looked.append(Looked(entry))
                findings += _look(looked[-1], header)
            advance(1)
    for over_all in (_labels_of_two, _twins, _overlaps, _straddling, _pixel_sizes):
        findings += over_all(looked)
    if header is not None and rows:
        findings += _classes(looked, header.classes)
    findings.sort(key=lambda finding: finding.level != "error")
    return Checked(header, findings, looked)


def _look(seen: Looked, header: Header | None) -> Iterator[Finding]:
    """One mosaic and its labels."""
    entry, name = seen.entry, seen.entry.mosaic
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            image = to_uint8(read_image(entry.image))
            stated = None if header is None else header.pixel_size_um
            seen.pixel_size_um = pixel_size(entry.image, entry.pixel_size_um, stated)[0]
    except InputError as error:
        yield Finding("error", "unreadable mosaic", name, str(error))
        return
    yield from (Finding("warning", "mosaic file", name, str(w.message)) for w in said)
    seen.content = _digest(image)
    seen.thumbnail = resize_image(image, _small(image.shape))
    seen.landmarks = landmarks(image)
    yield from _grey_levels(image, name)
    if entry.label is None or header is None:
        return
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            labels = read_labels(entry.label, header.classes, (image.shape[0], image.shape[1]))
    except InputError as error:
        yield Finding("error", "unusable label map", name, str(error))
        return
    yield from (Finding("warning", "label file", name, str(w.message)) for w in said)
    seen.areas, seen.label_content = count_values(labels), _digest(labels)
    seen.label_thumbnail = nearest_resample(labels, _small(labels.shape))
    if seen.areas[UNLABELLED] == labels.size:
        yield Finding("warning", "nothing labelled", name, f"{entry.label} labels no px; label it, or empty its column")
        return
    yield from _slivers(labels, header.classes, name)


def _grey_levels(image: NDArray[np.uint8], name: str) -> Iterator[Finding]:
    counts = count_values(image)
    below = np.cumsum(counts) / image.size
    low, high = (int(np.searchsorted(below, share)) for share in (0.05, 0.95))
    if high - low < LEAST_CONTRAST:
        yield Finding("warning", "empty image", name, f"nine tenths of its grey levels lie between {low} and {high}")
        return
    border = np.concatenate([image[[0, -1]].reshape(-1), image[:, [0, -1]].reshape(-1)])
    if (border >= BRIGHT).mean() > BRIGHT_BORDER:
        yield Finding("warning", "contrast upside down", name, "its border is white; mosaics lie on black: invert it")
        return
    share = counts[255] / image.size
    if share > SATURATED:
        yield Finding("warning", "saturated", name, f"{share:.1%} of its px are at the highest grey level")


def _slivers(labels: NDArray[np.uint8], classes: ClassTable, name: str) -> Iterator[Finding]:
    for class_ in classes.classes:
        mask = (labels == class_.id).astype(np.uint8)
        _, _, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
        small = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] < SLIVER_PX) + 1
        if len(small) > SLIVERS:
            x, y = centres[small[0]]
            yield Finding(
                "warning", "slivers", name,
                f"{len(small)} regions of {class_.name} are smaller than {SLIVER_PX} px, one at row {y:.0f}, column "
                f"{x:.0f}: slips of the brush?",
            )  # fmt: skip


def landmarks(image: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes of neighbourhoods of 4 × 4 px, of those that a part of the hash picks: a crop has the same ones."""
    height, width = image.shape
    if min(height, width) < 4:
        return np.zeros(0, np.uint64)
    found = []
    strip = max(8, 2**22 // width)
    for top in range(0, height - 3, strip):
        part = image[top : top + strip + 3]
        mixed = part.astype(np.uint32)
        for axis in (0, 1):  # all rows of four, then all columns of them
            four = np.lib.stride_tricks.sliding_window_view(mixed, 4, axis=axis)
            mixed = ((four[..., 0] * _ODD + four[..., 1]) * _ODD + four[..., 2]) * _ODD + four[..., 3]
            mixed ^= mixed >> np.uint32(15)
        at = np.nonzero(mixed * _ODD < 2**32 // SAMPLED)
        windows = np.lib.stride_tricks.sliding_window_view(part, (4, 4))[at].reshape(-1, 16)
        lively = np.ptp(windows.astype(np.int16), axis=1) >= LEAST_CONTRAST
        first, second = np.ascontiguousarray(windows[lively]).view(np.uint64).T
        found.append(first * np.uint64(0x9E3779B97F4A7C15) ^ second * np.uint64(0xBF58476D1CE4E5B9))
    return np.unique(np.concatenate(found))


_ODD: Final = np.uint32(0x9E3779B1)


def _labels_of_two(looked: Sequence[Looked]) -> Iterator[Finding]:
    by_file: dict[Path, list[str]] = defaultdict(list)
    by_content: dict[str, list[str]] = defaultdict(list)
    for seen in looked:
        if seen.entry.label is not None:
            by_file[seen.entry.label.resolve()].append(seen.entry.mosaic)
            if seen.label_content and seen.areas[UNLABELLED] < seen.areas.sum():
                by_content[seen.label_content].append(seen.entry.mosaic)
    for path, names in by_file.items():
        if len(names) > 1:
            yield Finding("error", "one label map of two", names[1], f"{path.name} is named for {' and '.join(names)}")
    shared = [names for names in by_file.values() if len(names) > 1]
    for names in by_content.values():
        if len(names) > 1 and names not in shared:
            yield Finding(
                "warning",
                "equal label maps",
                names[1],
                f"{' and '.join(names)} have equal labels: a copy?",
            )


def _twins(looked: Sequence[Looked]) -> Iterator[Finding]:
    by_content: dict[str, list[MosaicEntry]] = defaultdict(list)
    for seen in looked:
        if seen.content:
            by_content[seen.content].append(seen.entry)
    for twins in by_content.values():
        if len(twins) > 1:
            yield _leak("duplicate mosaics", twins, "are the same image, px by px")


def _overlaps(looked: Sequence[Looked]) -> Iterator[Finding]:
    hashes = np.concatenate([np.zeros(0, np.uint64), *(seen.landmarks for seen in looked)])
    owners = np.repeat(np.arange(len(looked)), [len(seen.landmarks) for seen in looked])
    values, counts = np.unique(hashes, return_counts=True)
    several = np.isin(hashes, values[counts > 1])
    hashes, owners = hashes[several], owners[several]
    common: Counter[tuple[int, int]] = Counter()
    order = np.argsort(hashes, kind="stable")
    ends = np.flatnonzero(np.diff(hashes[order])) + 1
    for group in np.split(owners[order], ends):
        common.update(combinations(group.tolist(), 2))
    for (first, second), count in sorted(common.items()):
        a, b = looked[first], looked[second]
        share = count / min(len(a.landmarks), len(b.landmarks))
        if a.content != b.content and count > 2 and share > OVERLAP:
            yield _leak("overlapping mosaics", [a.entry, b.entry], f"show the same tissue ({share:.0%})")


def _leak(kind: str, entries: Sequence[MosaicEntry], what: str) -> Finding:
    names = " and ".join(entry.mosaic for entry in entries)
    splits, patients = {e.split for e in entries}, {e.patient for e in entries if e.patient_given}
    across = " in several splits: what is tested was trained on" if len(splits) > 1 else ""
    people = f" of several patients ({', '.join(sorted(patients))})" if len(patients) > 1 else ""
    return Finding("error" if across else "warning", kind, entries[1].mosaic, f"{names}{people} {what}{across}")


def _straddling(looked: Sequence[Looked]) -> Iterator[Finding]:
    splits: dict[str, set[str]] = defaultdict(set)
    for seen in looked:
        if seen.entry.patient_given and seen.entry.split is not None:
            splits[seen.entry.patient].add(seen.entry.split)
    for patient, found in splits.items():
        if len(found) > 1:
            text = f"patient {patient} is in {' and '.join(sorted(found))}"
            yield Finding("warning", "patient in two splits", "", text)


def _pixel_sizes(looked: Sequence[Looked]) -> Iterator[Finding]:
    sizes = {seen.entry.mosaic: seen.pixel_size_um for seen in looked if seen.pixel_size_um is not None}
    for name, size in sizes.items():
        if not USUAL_UM[0] <= size <= USUAL_UM[1]:
            yield Finding("warning", "strange pixel size", name, f"its pixels are {size:g} µm: another unit?")
    unknown = [s.entry.mosaic for s in looked if s.pixel_size_um is None and s.thumbnail is not None]
    if sizes and unknown:
        text = f"{len(unknown)} mosaics state no pixel size, {len(sizes)} do: state it in manifest.csv or dataset.yaml"
        yield Finding("error", "pixel size unknown", unknown[0], text)
    if sizes and max(sizes.values()) > MIXED * min(sizes.values()):
        smallest, largest = (pick(sizes, key=lambda name: sizes[name]) for pick in (min, max))
        yield Finding(
            "warning", "mixed pixel sizes", largest,
            f"{sizes[largest]:g} µm, and {sizes[smallest]:g} µm in {smallest}: is one of them in another unit?",
        )  # fmt: skip


def _classes(looked: Sequence[Looked], classes: ClassTable) -> Iterator[Finding]:
    labelled = [seen for seen in looked if seen.areas[: len(classes)].any()]
    if not labelled:
        yield Finding("error", "nothing to train on", "", "no mosaic has a labelled px; import or paint labels")
        return
    parts: Mapping[str, Collection[Looked]] = {
        split: [s for s in labelled if s.entry.split == split] for split in ("train", "val", "test")
    }
    if not any(parts.values()):
        parts = {"": labelled}
    elif not parts["train"]:
        yield Finding("error", "nothing to train on", "", "no labelled mosaic is in the split train")
    for split, seen in parts.items():
        total = sum((s.areas for s in seen), np.zeros(256, np.int64))
        for class_ in classes.classes:
            if seen and not total[class_.id]:
                where = f" in the split {split}" if split else ""
                yield Finding("warning", "class without px", "", f"no px is labelled {class_.name}{where}")
    unassigned = [s.entry.mosaic for s in labelled if s.entry.split is None]
    if "" not in parts and unassigned:
        text = f"{len(unassigned)} labelled mosaics have no split and others do: fill the column for all or for none"
        yield Finding("error", "split given for some", unassigned[0], text)


def _digest(array: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _small(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, THUMB_PX / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
