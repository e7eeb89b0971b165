"""Who trains, who validates, who tests: by patient, drawn once, written down."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, cast

from rcm_cascade.data.manifest import (
    MANIFEST_FILE,
    SPLIT_NAMES,
    Dataset,
    MosaicEntry,
    SplitName,
    csv_text,
    read_mosaic_rows,
)
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text

Split = Mapping[str, str]
"""``{mosaic: "train" | "val" | "test"}``, by the manifest's ``mosaic`` column."""

TEST_SHARE: Final = 0.30
"""Of patients."""

VALIDATION_SHARE: Final = 0.15
"""Of the patients that are not tested."""


def make_split(
    dataset: Dataset, *, seed: int, split_file: Path | None = None, training: bool = True
) -> dict[str, SplitName]:
    """The split of a data set's labelled mosaics.

    In this order: the split file, the manifest's ``split`` column if it is filled anywhere, a draw by patient (by
    mosaic where no patient is given). A draw gives about 30 % of patients to test and 15 % of the others, at least one,
    to validation; two patients are one to train and one to test, a single one trains. It depends on the seed and the
    patients' names only. Mosaics without label map are in no split.

    Args:
        dataset: the data set.
        seed: of the draw.
        split_file: CSV ``mosaic,split``; mosaics it does not name are left out.
        training: whether it must leave a mosaic to train on; a data set for evaluation alone may be all test.

    Returns:
        In the manifest's order.

    Raises:
        InputError: if the split file is malformed, names an unknown mosaic or one without label map, the column is
            filled for some labelled mosaics only, or nothing is left to train on though ``training`` is asked for.
    """
    labelled = [entry for entry in dataset.entries if entry.label is not None]
    origin = dataset.root / MANIFEST_FILE
    if split_file is not None:
        named = read_split(split_file)
        if unknown := named.keys() - {entry.mosaic for entry in labelled}:
            raise InputError(
                f"{split_file} names {min(unknown)!r}, which is no labelled mosaic of {origin}; write it as there, "
                "give it a label map, or delete the line"
            )
        split = {entry.mosaic: named[entry.mosaic] for entry in labelled if entry.mosaic in named}
        origin = split_file
    elif any(entry.split for entry in dataset.entries):
        split = {entry.mosaic: entry.split for entry in labelled if entry.split is not None}
        missing = [entry.mosaic for entry in labelled if entry.split is None]
        if missing:
            raise InputError(
                f"{origin} gives a split for some mosaics and none for {missing[0]} ({len(missing)} in all); fill the "
                "column for all labelled mosaics or for none"
            )
    else:
        tested = draw_share({entry.patient for entry in labelled}, TEST_SHARE, seed)
        split = split_rest(labelled, {entry.mosaic for entry in labelled if entry.patient in tested}, seed)
    if training and "train" not in split.values():
        raise InputError(f"{origin} leaves no labelled mosaic to train on; give at least one a label and split train")
    return split


def keep_training_patients(
    dataset: Dataset, split: Mapping[str, SplitName], fraction: float, seed: int
) -> dict[str, SplitName]:
    """A split with a part of its training patients only, as if no others had been labelled.

    A smaller fraction's patients are among a larger one's.

    Args:
        dataset: the data set.
        split: of its mosaics.
        fraction: of the patients in train, (0, 1]; at least one is kept.
        seed: of the draw.

    Returns:
        The split without the mosaics of the others; validation and test stay.
    """
    patient = {entry.mosaic: entry.patient for entry in dataset.entries}
    order = draw_order({patient[mosaic] for mosaic, part in split.items() if part == "train"}, seed)
    kept = set(order[: max(1, round(fraction * len(order)))])
    return {mosaic: part for mosaic, part in split.items() if part != "train" or patient[mosaic] in kept}


def write_split(path: Path, split: Split) -> None:
    """Writes CSV ``mosaic,split``, whole or not at all."""
    write_text(path, _to_csv(split))


def split_id(split: Split) -> str:
    """Identity of a split, 16 hexadecimal digits."""
    return hashlib.sha256(_to_csv(split).encode()).hexdigest()[:16]


def _to_csv(split: Split) -> str:
    return csv_text(("mosaic", "split"), split.items())


def read_split(path: Path) -> dict[str, SplitName]:
    """Reads what `write_split` wrote.

    Raises:
        InputError: if the file is missing, malformed, names a mosaic twice, or another split than train, val, test.
    """
    columns = ("mosaic", "split")
    return {row["mosaic"]: cast(SplitName, row["split"]) for _, row in read_mosaic_rows(path, columns, columns)}


def patients_straddling(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """Patients with mosaics in more than one part of a split, sorted."""
    parts: dict[str, set[str]] = {}
    for entry in dataset.entries:
        if entry.mosaic in split:
            parts.setdefault(entry.patient, set()).add(split[entry.mosaic])
    return tuple(sorted(patient for patient, found in parts.items() if len(found) > 1))


def describe_split(split: Split) -> str:
    """How many mosaics are in each part, for a line of text."""
    return ", ".join(f"{sum(v == part for v in split.values())} {part}" for part in SPLIT_NAMES)


def copies_straddling(contents: Mapping[str, str], split: Split) -> tuple[str, ...]:
    """Mosaics that are one image and in different parts of a split, each with the one before: ``b (= a)``.

    Args:
        contents: an id of each mosaic's content.
        split: the split.
    """
    first: dict[str, str] = {}
    found = []
    for mosaic, part in split.items():
        other = first.setdefault(contents[mosaic], mosaic)
        if split[other] != part:
            found.append(f"{mosaic} (= {other})")
    return tuple(found)


def draw_order(names: Iterable[str], *salt: object) -> list[str]:
    """Names in an order that looks random and depends on them and the salt only.

    By a hash and not by a generator: no library's next release can move a patient into the test set.

    Args:
        names: of patients or mosaics, in any order.
        salt: the seed, and what else distinguishes this draw from others.
    """
    return sorted(names, key=lambda name: hashlib.sha256("\0".join(map(str, (*salt, name))).encode()).digest())


def draw_share(names: Iterable[str], share: float, *salt: object) -> set[str]:
    """A share of names, but at least one and not the only one.

    Args:
        names: of patients or mosaics.
        share: in (0, 1).
        salt: as for `draw_order`.
    """
    order = draw_order(names, *salt)
    return set(order[: max(1, round(share * len(order))) if len(order) > 1 else 0])


def split_rest(labelled: Iterable[MosaicEntry], tested: Collection[str], *salt: object) -> dict[str, SplitName]:
    """The split in which some mosaics are tested; of the other patients, 15 % but at least one validate.

    Args:
        labelled: the mosaics to split.
        tested: mosaics.
        salt: as for `draw_order`.
    """
    labelled = list(labelled)
    validated = draw_share({e.patient for e in labelled if e.mosaic not in tested}, VALIDATION_SHARE, *salt)
    return {e.mosaic: "test" if e.mosaic in tested else "val" if e.patient in validated else "train" for e in labelled}
