"""Files written whole or not at all."""

import json
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from rcm_cascade.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` that takes its place when the block ends well.

    The folder is made where it is missing. If the block raises, ``path`` stays as it was and the temporary file goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.tmp")  # without the name, which may be as long as names can be
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_unwritable(out: Path) -> None:
    """Refuses a folder given as ``--out`` in which nothing can be written, before anything is computed; makes nothing.

    Raises:
        InputError: if it, or the folder that it would be made in, is none or may not be written.
    """
    folder = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    fault = ""
    if not folder.is_dir():
        fault = "is a file" if folder.exists() else "is a link to nothing"
    elif not os.access(folder, os.W_OK | os.X_OK):
        fault = "may not be written"
    if fault:
        raise InputError(
            f"nothing can be written to {out}, for {folder.absolute()} {fault}; choose another folder with --out"
        )


def printable(name: str) -> str:
    """A file's name as text that every program takes: what is no UTF-8, or a control character, as an escape."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Cn") else c for c in text)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; an existing file is replaced."""
    with written_whole(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))  # file names may hold bytes that are no text


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file whole or not at all; an existing file is replaced."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
