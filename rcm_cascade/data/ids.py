"""Identities of a data set: of its mosaics, and of all that scores depend on."""

import hashlib
import json
from dataclasses import dataclass

from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.manifest import Dataset


@dataclass(frozen=True)
class DatasetIds:
    """16 hexadecimal digits each; where the data set lies, its name and the order of its rows do not enter.

    Args:
        mosaics: of the mosaics' content and their patients: a split belongs to it. A renamed file is the same mosaic.
        content: of the class table and, by mosaic, its content, label map's content, patient, split and pixel size:
            scores belong to it.
        legacy: of the class table and the manifest's text, as runs and checkpoints recorded it before there were the
            other two; it does not see an overwritten file.
    """

    mosaics: str
    content: str
    legacy: str


def dataset_ids(dataset: Dataset, cache: MosaicCache) -> DatasetIds:
    """Reads each file of a data set once; the cache remembers what was in it until its size or time changes.

    Raises:
        InputError: if a file cannot be read or the cache folder not written.
    """
    rows = []
    for entry in dataset.entries:
        patient = entry.patient if entry.patient_given else ""
        label = cache.content(entry.label) if entry.label else ""
        size = dataset.pixel_size_um if entry.pixel_size_um is None else entry.pixel_size_um
        rows.append((cache.content(entry.image), patient, label, entry.split or "", size))
    return DatasetIds(
        mosaics=_digest(sorted(row[:2] for row in rows)),
        content=_digest([dataset.classes.to_plain(), sorted(rows, key=str)]),
        legacy=legacy_id(dataset),
    )


def mosaic_ids(dataset: Dataset, cache: MosaicCache) -> dict[str, str]:
    """Of each mosaic's content, 16 hexadecimal digits, by the manifest's ``mosaic`` column.

    Raises:
        InputError: as `dataset_ids` does.
    """
    return {entry.mosaic: cache.content(entry.image)[:16] for entry in dataset.entries}


def patient_ids(dataset: Dataset) -> dict[str, str]:
    """Of the patient of each mosaic of which one is given, 16 hexadecimal digits that do not show the name.

    The data set's name enters: patient 1 of one data set is not patient 1 of another.
    """
    return {entry.mosaic: _digest([dataset.name, entry.patient]) for entry in dataset.entries if entry.patient_given}


def legacy_id(dataset: Dataset) -> str:
    """`DatasetIds.legacy` alone; no image is read."""
    rows = [
        [
            entry.mosaic,
            entry.label.relative_to(dataset.root).as_posix() if entry.label else "",
            entry.patient if entry.patient_given else "",
            entry.site,
            entry.split or "",
            entry.pixel_size_um,
        ]
        for entry in dataset.entries
    ]
    return _digest({"classes": dataset.classes.to_plain(), "manifest": sorted(rows, key=lambda row: str(row[0]))})


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
