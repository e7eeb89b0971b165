"""Decoded mosaics on disk, by content, memory-mapped: decoding a compressed TIFF once instead of for every patch."""

import hashlib
import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from rcm_cascade.errors import InputError
from rcm_cascade.files import written_whole

FORMAT: Final = 3
"""Counted up when the same file would be decoded to something else; older cache files are then never found."""

FOLDER_VARIABLE: Final = "RCM_CASCADE_CACHE"

_SETTLED_NS: Final = 2 * 10**9  # a file written later than this before hashing could change again within one tick
_ABANDONED_S: Final = 24 * 3600.0  # after which an unfinished file is taken for a killed process's
_used_here: set[Path] = set()
"""Cache files that this process has opened; module-wide, because several caches may share a folder."""


def default_folder() -> Path:
    """``$RCM_CASCADE_CACHE``, else ``$XDG_CACHE_HOME/rcm_cascade``, else ``~/.cache/rcm_cascade``."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rcm_cascade"


@dataclass(frozen=True)
class MosaicCache:
    """A folder of ``.npy`` files, each named by what it was made from.

    Any number of processes may share one. When it outgrows its size, the least recently used files go, but none that
    this process has opened.

    Args:
        folder: made on first use.
        max_bytes: upper size of all arrays together.
    """

    folder: Path = field(default_factory=default_folder)
    max_bytes: float = 50e9

    def content(self, path: Path) -> str:
        """sha256 of a file's content, remembered by path, size and modification time.

        Raises:
            InputError: if the file cannot be read or the cache folder not written.
        """
        path = path.absolute()
        note = self.folder / "content" / (hashlib.sha256(os.fsencode(path)).hexdigest()[:32] + ".json")
        try:
            before = path.stat()
            known = [str(path), before.st_size, before.st_mtime_ns]
            with suppress(OSError, ValueError, TypeError):  # no note yet, or a damaged one
                *noted, digest = json.loads(note.read_bytes())
                if noted == known:
                    return str(digest)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); expected an image file: check the path"
            ) from error
        if time.time_ns() - before.st_mtime_ns > _SETTLED_NS:
            with self._writing(), written_whole(note) as temporary:
                temporary.write_text(json.dumps([*known, digest]), encoding="utf-8")
        return digest

    def key(self, *parts: object) -> str:
        """A name for an array made from ``parts`` (content hashes and parameters, by their ``str``)."""
        return hashlib.sha256("\0".join(map(str, (FORMAT, *parts))).encode()).hexdigest()

    def get(self, key: str, build: Callable[[], NDArray[Any]]) -> "np.memmap[Any, Any]":
        """The array under a key, memory-mapped and read-only; made by ``build`` where it is missing or damaged.

        Of several processes that ask for one key at once, one builds and the others wait.

        Raises:
            InputError: if the cache folder cannot be written; and whatever ``build`` raises.
        """
        path = self.folder / key[:2] / f"{key}.npy"
        found = _open(path)
        if found is None:
            with self._writing():
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(path.with_suffix(".lock")) as lock:
                    found = _open(path)  # another process may have built it while this one waited
                    if found is None:
                        with written_whole(path) as temporary, temporary.open("wb") as file:
                            np.save(file, build(), allow_pickle=False)
                        found = reopen(path)
                    Path(lock.lock_file).unlink(missing_ok=True)
                self._shrink()
        return found

    def _shrink(self) -> None:
        """Drops the least recently used files, those that killed processes left among them."""
        files = []
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):  # another process shrinks it too
                if path.suffix == ".npy" or path.stat().st_mtime < time.time() - _ABANDONED_S:
                    files.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        excess = sum(size for _, size, _ in files) - self.max_bytes
        for _, size, path in sorted(files):
            if excess > 0 and path not in _used_here:
                path.unlink(missing_ok=True)
                excess -= size
                print(f"cache: dropped {path} to stay below {self.max_bytes / 1e9:.2f} GB", file=sys.stderr)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"the cache folder {self.folder} cannot be written ({error.strerror}); free space there or set "
                f"{FOLDER_VARIABLE} to another folder"
            ) from error


def reopen(path: Path) -> "np.memmap[Any, Any]":
    """Maps a cache file again, in another process or after pickling.

    Raises:
        InputError: if it has been dropped or damaged meanwhile.
    """
    found = _open(path)
    if found is None:
        raise InputError(
            f"the cache file {path} is gone or damaged; start again and it is rebuilt (a larger cache keeps it longer)"
        )
    return found


def cache_file(array: object) -> Path | None:
    """The file that an array maps as a whole; None for parts of a map and whatever else."""
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
        return Path(str(array.filename))
    return None


def _open(path: Path) -> "np.memmap[Any, Any] | None":
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError):  # missing, truncated, or no .npy: built again
        return None
    with suppress(OSError):  # of a cache that others may only read
        os.utime(path)  # what `_shrink` goes by
    _used_here.add(path)
    return found
