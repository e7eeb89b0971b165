"""``summary.csv``: one row a mosaic of a folder of annotations, for those who read tables."""

from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from rcm_cascade.annotate.journal import OR_REPLACE, read_record
from rcm_cascade.data.manifest import csv_text
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text

TABLE: Final = "summary.csv"
_FIRST: Final = ("mosaic", "source_sha256", "pixel_size_um", "megapixels", "checkpoint_sha256", "synthetic")
_LAST: Final = ("lesion mm2", "uninformative share of lesion", "uninformative share", "reimage")


def refuse_other_table(out: Path) -> None:
    """Refuses a folder whose ``summary.csv`` is not ours.

    Raises:
        InputError: naming it.
    """
    path = out / TABLE
    if path.is_file() and not path.read_bytes().startswith(",".join(_FIRST).encode()):
        raise InputError(
            f"{path} is not a file of annotate's and would be replaced; choose another folder with --out{OR_REPLACE}"
        )


def write_table(out: Path) -> None:
    """Writes the rows of all mosaics that are annotated in a folder, whichever process or call did it.

    Areas are in mm² of the mosaic's own grid, empty where its pixel size is not known; shares are of its pixels.
    """
    with FileLock(out / f".{TABLE}.lock") as lock:  # who comes last sees what the others have done
        found = [record for path in sorted(out.glob("*.json")) if (record := read_record(path)) and "classes" in record]
        names = list(dict.fromkeys(c["name"] for record in found for c in record["classes"]))
        header = [*_FIRST, *(f"{name} {what}" for name in names for what in ("mm2", "share")), *_LAST]
        write_text(out / TABLE, csv_text(header, [_row(record, names) for record in found]))
        Path(lock.lock_file).unlink(missing_ok=True)


def _row(record: dict[str, Any], names: list[str]) -> list[object]:
    height, width = record["shape"]
    classes = {c["name"]: (c["area_mm2"], c["share"]) for c in record["classes"]}
    first = record["mosaic"], record["source_sha256"], record["pixel_size_um"], height * width / 1e6
    of_classes = [value for name in names for value in classes.get(name, (None, None))]
    lesion, uninformative = record.get("lesion") or {}, record.get("uninformative") or {}
    inside = [
        lesion.get("area_mm2"),
        uninformative.get("lesion"),
        uninformative.get("mosaic"),
        uninformative.get("reimage"),
    ]
    return [*first, record["checkpoint"]["sha256"], record["synthetic"], *of_classes, *inside]
