"""What sources say, into a dataset folder: nothing there is overwritten, and what is not understood is listed."""

import dataclasses
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from rcm_cascade.classes import RCM_CLASSES, UNLABELLED, ClassTable
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.formats.base import suffixes
from rcm_cascade.data.intensity import count_values
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import (
    COLUMNS,
    DATASET_FILE,
    MANIFEST_FILE,
    csv_text,
    read_header,
    read_mosaic_rows,
    write_dataset,
)
from rcm_cascade.errors import InputError, explain_os_error, reason
from rcm_cascade.files import write_text, written_whole
from rcm_cascade.importers.names import Meanings, read_meanings
from rcm_cascade.importers.source import READERS, Labelled, stem_of
from rcm_cascade.pictures.png import save_png

_SPLIT_LIST: Final = re.compile(r"(train|val|test)\w*[_-]?\d*", re.I)

Rows = dict[str, dict[str, str]]
"""Of the manifest, by mosaic."""


@dataclass
class Imported:
    """What became of one mosaic.

    Args:
        mosaic: as the manifest names it; empty where none was found.
        source: that the labels are from.
        outcome: such as ``labels added``.
        areas: px by class id, 256 of them; None: no labels.
        weak: whether whole fields have one label.
        notes: what was not understood, each with its place.
        refused: whether nothing was imported.
    """

    mosaic: str
    source: Path
    outcome: str
    areas: NDArray[np.int64] | None = None
    weak: bool = False
    notes: list[str] = field(default_factory=list)
    refused: bool = False


def import_labels(
    sources: Sequence[Path],
    root: Path,
    mosaics: Sequence[Path] = (),
    *,
    table: Path | None = None,
    reader: str | None = None,
    patient: str = "",
    site: str = "",
    pixel_size_um: float | None = None,
    grid: tuple[int, int] | None = None,
    replace: bool = False,
    dry_run: bool = False,
) -> tuple[ClassTable, list[Imported]]:
    """Imports mosaics and labels into a dataset folder, which is made where it is missing.

    Args:
        sources: files and folders of other tools, and lists of a split (``train_1.txt``).
        root: the dataset folder.
        mosaics: files, and folders of them, that labels may be of, beside those of the data set and beside a source.
        table: what words, values and colours mean, beside what the field calls them.
        reader: a name in `READERS`; None: found out.
        patient: of all new mosaics.
        site: of all new mosaics.
        pixel_size_um: of all new mosaics whose source does not know it; None: the files say it, or nobody.
        grid: rows and columns in which the numbered frames of a VivaBlock lie, where it has no mosaic.
        replace: whether labels that are there, and others, give way.
        dry_run: whether all is done but the writing.

    Returns:
        The data set's classes, and what became of each mosaic.

    Raises:
        InputError: if a source does not exist or nothing reads it, or root or table is wrong.
    """
    header = read_header(root / DATASET_FILE) if (root / DATASET_FILE).exists() else None
    classes = RCM_CLASSES if header is None else header.classes
    meanings = dataclasses.replace(read_meanings(classes, table), grid=grid)
    rows = _rows(root)
    lists = [path for path in sources if path.suffix.lower() == ".txt" and _SPLIT_LIST.fullmatch(path.stem)]
    found = [each for path in sources if path not in lists for each in _labelled(path, meanings, reader)]
    known = _Known(root, rows, mosaics, sources)
    new = {"patient": patient, "site": site, "pixel_size_um": "" if pixel_size_um is None else f"{pixel_size_um:g}"}
    done: list[Imported] = []
    for each in found:
        try:
            done.append(_import(each, root, rows, known, meanings, len(found) == 1, new, replace, dry_run))
        except InputError as error:
            done.append(Imported("", each.source, "refused", notes=[str(error)], refused=True))
        except OSError as error:
            done.append(Imported("", each.source, "refused", notes=[explain_os_error(error)], refused=True))
        except Exception as error:  # what damaged files make libraries raise
            said = f"{each.source} cannot be imported ({type(error).__name__}: {reason(error)}); export it again"
            done.append(Imported("", each.source, "refused", notes=[said], refused=True))
    done += [_apply_split(path, rows) for path in lists]
    if not dry_run and any(not each.refused for each in done):
        if header is None:
            write_dataset(root, classes=classes, rows=[], name=root.absolute().name)
        write_text(root / MANIFEST_FILE, csv_text(COLUMNS, [[row[c] for c in COLUMNS] for row in rows.values()]))
    return classes, done


def _rows(root: Path) -> Rows:
    path = root / MANIFEST_FILE
    return {row["mosaic"]: row for _, row in read_mosaic_rows(path, COLUMNS, ["mosaic"])} if path.exists() else {}


def _labelled(path: Path, meanings: Meanings, reader: str | None) -> Iterator[Labelled]:
    """What a source says; a folder that no reader takes as a whole, file by file."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give a file or folder of labels")
    if reader is not None and reader not in READERS:
        raise InputError(f"there is no reader {reader!r}; expected one of {', '.join(READERS)}")
    for each in sorted(READERS.values(), key=lambda r: r.rank):
        if reader in (None, each.name) and each.matches(path, meanings):
            yield from each.read(path, meanings)
            return
    if path.is_dir():
        inside = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
        own = mosaics_beside(inside)
        parts = [p for p in inside if p not in own]
        if parts:
            for part in parts:
                yield from _labelled(part, meanings, reader)
            return
    kinds = "; ".join(f"{each.name}: {each.what}" for each in READERS.values())
    raise InputError(f"{path} is nothing that is understood; known are {kinds}")


def mosaics_beside(files: Sequence[Path]) -> list[Path]:
    """Images of which another file, by its name, holds the labels."""
    pictures = [p for p in files if p.is_file() and p.name.lower().endswith(suffixes())]
    plain = {p for p in pictures if stem_of(p.name) == p.name[: -len(_suffix(p))]}
    labels = {stem_of(p.name) for p in files if p not in plain}
    return [p for p in pictures if p in plain and stem_of(p.name) in labels]


def _suffix(path: Path) -> str:
    return next(s for s in sorted(suffixes(), key=len, reverse=True) if path.name.lower().endswith(s))


class _Known:
    """Mosaics that labels may be of, by their stem."""

    def __init__(self, root: Path, rows: Rows, given: Sequence[Path], sources: Sequence[Path]) -> None:
        self.root = root
        self.by_stem: dict[str, list[Path]] = {}
        for name in rows:
            self._add(root / name)
        named = self._images(given)
        for path in named:
            self._add(path)
        for source in sources:
            folder = source if source.is_dir() else source.parent
            for path in mosaics_beside(sorted(folder.iterdir())):
                self._add(path)
        self.only = named[0] if len(named) == 1 else None

    def _images(self, paths: Sequence[Path]) -> list[Path]:
        found: list[Path] = []
        for path in paths:
            if not path.exists():
                raise InputError(f"{path} does not exist; give mosaics with --mosaics")
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
            found += [p for p in inside if p.is_file() and (p == path or p.name.lower().endswith(suffixes()))]
        return found

    def _add(self, path: Path) -> None:
        paths = self.by_stem.setdefault(stem_of(path.name), [])
        if not any(path.samefile(other) for other in paths if other.exists() and path.exists()):
            paths.append(path)

    def of(self, each: Labelled, alone: bool) -> Path:
        """The mosaic of some labels.

        Raises:
            InputError: if there is none, or several.
        """
        found = self.by_stem.get(each.stem, [])
        if not found and alone and self.only is not None:
            return self.only
        own = [path for path in found if path.is_relative_to(self.root)]
        if own and all(np.array_equal(read_image(own[0]), read_image(path)) for path in found[1:]):
            found = own[:1]
        if len(found) == 1:
            return found[0]
        fault = f"there are several: {', '.join(map(str, found))}" if found else "there is none"
        raise InputError(
            f"{each.source} has labels of a mosaic named {each.stem!r}, and {fault}; give its mosaic with --mosaics, "
            "named so, or one source and one mosaic"
        )


def _import(
    each: Labelled, root: Path, rows: Rows, known: _Known, meanings: Meanings, alone: bool,
    given: Mapping[str, str], replace: bool, dry_run: bool,
) -> Imported:  # fmt: skip
    image = each.image or known.of(each, alone)
    inside = root.resolve() in image.resolve().parents
    name = image.resolve().relative_to(root.resolve()).as_posix() if inside else f"mosaics/{_file_name(each, image)}"
    mosaic = read_image(image) if each.pixels is None else each.pixels
    drawn = None if each.draw is None else each.draw((mosaic.shape[0], mosaic.shape[1]))
    added = name not in rows
    own = {} if each.pixel_size_um is None else {"pixel_size_um": f"{each.pixel_size_um:g}"}
    row = rows.get(name, dict.fromkeys(COLUMNS, "") | {"mosaic": name, **given, **own})
    done = Imported(name, each.source, "mosaic added" if added else "as it was", weak=each.weak)
    label, fresh = row["label"], False
    if drawn is not None:
        done.notes, done.areas = drawn.notes, count_values(drawn.labels)
        label = label or f"labels/{stem_of(Path(name).name)}{'.weak' if each.weak else ''}.png"
        fresh = _is_new(root / label, drawn.labels, meanings.classes, replace)
    if not inside:  # refusals come first: nothing is half imported
        _put_mosaic(root / name, image, mosaic, each, replace, dry_run)
    if drawn is not None and fresh:
        done.outcome = "mosaic and labels added" if added else "labels added"
        if not dry_run:
            save_png(drawn.labels, root / label)
    rows[name] = row | {"label": label}
    return done


def _file_name(each: Labelled, image: Path) -> str:
    if each.pixels is not None:
        return f"{each.stem}.tif"
    return f"{each.stem}{_suffix(image)}" if each.image is not None else image.name


def _put_mosaic(path: Path, image: Path, pixels: NDArray[Any], each: Labelled, replace: bool, dry_run: bool) -> None:
    if path.exists() and not replace:
        if not np.array_equal(read_image(path), pixels):
            raise InputError(f"{path} is there and is another mosaic than {image}; rename one of them, or --replace")
        return
    if dry_run:
        return
    with written_whole(path) as temporary:
        if each.pixels is None:
            shutil.copyfile(image, temporary)
        else:
            tifffile.imwrite(temporary, pixels, compression="zlib", bigtiff=pixels.nbytes > 2**31)


def _is_new(path: Path, labels: NDArray[np.uint8], classes: ClassTable, replace: bool) -> bool:
    """Whether labels are not there yet.

    Raises:
        InputError: if others are.
    """
    if not path.exists():
        return True
    if np.array_equal(read_labels(path, classes, (labels.shape[0], labels.shape[1])), labels):
        return False
    if not replace:
        raise InputError(f"{path} is there and holds other labels; move it away, or --replace")
    return True


def _apply_split(path: Path, rows: Rows) -> Imported:
    """A list of mosaics, one a line, that are of the split that the file's name begins with."""
    match = _SPLIT_LIST.fullmatch(path.stem)
    assert match is not None  # by which it is known for a list
    split = match[1].lower()
    by_stem: dict[str, list[dict[str, str]]] = {}
    for name, row in rows.items():
        by_stem.setdefault(stem_of(Path(name).name), []).append(row)
    wanted = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    notes = []
    for text in wanted:
        found = by_stem.get(stem_of(Path(text).name), [])
        if len(found) != 1:
            notes.append(f"{text!r} is {'no mosaic' if not found else 'several mosaics'} of the data set")
            continue
        if found[0]["split"] not in ("", split):
            notes.append(f"{text!r} is in the split {found[0]['split']} already, and stays")
            continue
        found[0]["split"] = split
    return Imported("", path, f"split {split} of {len(wanted) - len(notes)} mosaics", notes=notes)


def summary(classes: ClassTable, done: Sequence[Imported]) -> list[tuple[str, str, str, str]]:
    """Rows of a table: mosaic, outcome, share that is labelled, and of what."""
    rows = []
    for each in done:
        labelled, of_what = "", ""
        if each.areas is not None:
            total = int(each.areas.sum())
            labelled = f"{1 - each.areas[UNLABELLED] / total:.1%}"
            of_what = ", ".join(f"{c.name} {each.areas[c.id] / total:.1%}" for c in classes.classes if each.areas[c.id])
        outcome = each.outcome + (" (weak: by field)" if each.weak else "")
        rows.append((each.mosaic or each.source.name, outcome, labelled, of_what))
    return rows
