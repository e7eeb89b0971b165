"""Whose the files of an annotated mosaic are: what is not this mosaic's is not replaced, whenever a process dies.

The files are made in a hidden folder beside their places. A journal in it says whose they are before the first takes
its place, and goes when the last, the summary, has taken its own; from then on the summary says it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from rcm_cascade import __version__
from rcm_cascade.errors import InputError
from rcm_cascade.files import printable, write_json
from rcm_cascade.models.checkpoint import digest

MAKER: Final = f"rcm_cascade {__version__}"
"""What every file says that wrote it."""

OR_REPLACE: Final = ", or add --replace to have such files replaced"
"""The other remedy where a file of others is in the way."""

_LONGEST_NAME: Final = 255
"""Bytes of a file name, on nearly every disk."""

_UNLISTED: Final = (".labels.ome.tif", ".overlay.png")
"""Ends of the files that go with the summaries of releases which did not list them."""


@dataclass(frozen=True)
class Journal:
    """The files that annotating a mosaic into a folder writes, and whose they are.

    Args:
        image: the mosaic's file.
        paths: the files by format, the summary last.
    """

    image: Path
    paths: Mapping[str, Path]

    @property
    def _summary(self) -> Path:
        return list(self.paths.values())[-1]

    @property
    def _folder(self) -> Path:
        """Where the files are made; named by a hash, because their own names may be as long as names can be."""
        name = hashlib.sha256(os.fsencode(self._summary.name)).hexdigest()[:16]
        return self._summary.with_name(f".rcm_cascade-{name}")

    @property
    def _lock(self) -> Path:
        return self._folder.with_suffix(".lock")

    @property
    def _record(self) -> Path:
        return self._folder / "journal"

    def source(self, sha256: str) -> dict[str, str]:
        """What summary and journal say of maker and mosaic, whose content has this hash; empty for an array."""
        place = self._place(sha256)
        return {"maker": MAKER, "mosaic": printable(self.image.name), "source_sha256": sha256, "source_place": place}

    def _place(self, salt: str) -> str:
        """Tells the mosaic, when its content has changed, from another of its name, without telling where it lies.

        Names of folders may be names of patients, so the path is hashed: with a salt and slowly, so that a guess costs
        a tenth of a second and serves for one mosaic. It is the path from the outputs, so that they and the mosaics may
        move together. A link counts as itself: data set tools lead it to another file when the content changes.
        """
        image = self.image.parent.resolve() / self.image.name
        path = os.fsencode(os.path.relpath(image, self._summary.parent.resolve()))
        return hashlib.pbkdf2_hmac("sha256", path, salt.encode(), 200_000).hex()[:32]

    def refuse_others(self, sha256: Callable[[], str], replace: bool = False) -> None:
        """Refuses to replace what is not of this mosaic, or was changed since it was written.

        Args:
            sha256: of the mosaic's content; called where there are files that may be its own.
            replace: whether they may be replaced nevertheless; folders never are.

        Raises:
            InputError: naming the first such file, or a name that is too long.
        """
        name = max((path.name for path in self.paths.values()), key=lambda name: len(os.fsencode(name)))
        if (excess := len(os.fsencode(name)) - _LONGEST_NAME) > 0:
            raise InputError(
                f"{self.image} would be written to {name}, {excess} bytes above the {_LONGEST_NAME} of a file's name; "
                "rename the mosaic"
            )
        there = [path for path in self.paths.values() if os.path.lexists(path)]
        record = (read_record(self._record) or read_record(self._summary)) if there and not replace else None
        known = record is not None and (
            record["source_sha256"] == sha256() != ""
            or record.get("source_place") == self._place(str(record["source_sha256"]))
        )
        for path in there:
            if path.is_dir():
                fault, remedy = "is a folder", ""
            elif replace or (record is not None and known and self._is_listed(path, record)):
                continue
            else:
                other = "was made from another mosaic of this name" if record else "is not a file of annotate's"
                fault = "is not what annotate wrote there" if known else other
                remedy = OR_REPLACE
            raise InputError(
                f"annotating {self.image} would replace {path}, which {fault}; choose another folder with --out{remedy}"
            )

    def _is_listed(self, path: Path, record: Mapping[str, Any]) -> bool:
        """Whether a file is one that the journal or summary speaks of, unchanged."""
        if "files" not in record:
            return path == self._summary or path.name.endswith(_UNLISTED)
        if path == self._summary and not self._record.exists():
            return True
        with suppress(OSError, KeyError, TypeError):
            return digest(path) in record["files"][printable(path.name)]
        return False

    @contextmanager
    def replacing(self, sha256: str, replace: bool = False) -> Iterator[dict[str, Path]]:
        """Gives a path to make each file at; when the block ends well they take their places, the summary last.

        Of several processes that write files of one name, one does so at a time.

        Args:
            sha256: of the mosaic's content.
            replace: as in `refuse_others`, which is asked first.

        Raises:
            InputError: as `refuse_others`.
            OSError: if the folder cannot be written.
        """
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            try:
                self.refuse_others(lambda: sha256, replace)
                self._folder.mkdir(exist_ok=True)
                made = {name: self._folder / path.name for name, path in self.paths.items()}
                yield made
                # Until the summary is there, what is replaced is ours as well as what replaces it.
                files = {
                    printable(path.name): [digest(file) for file in (made[name], path) if file.is_file()]
                    for name, path in self.paths.items()
                }
                write_json(self._record, {**self.source(sha256), "files": files})
                self._drop_stale()
                self._summary.unlink(missing_ok=True)  # it must not vouch for files that are replaced from here on
                for name, path in self.paths.items():
                    made[name].replace(path)
                self._record.unlink()
            finally:
                self._drop()

    def _drop_stale(self) -> None:
        """Drops what an earlier call wrote and this one does not: it would lie beside labels that it is not of."""
        listed = (read_record(self._summary) or {}).get("files")
        for name, content in (listed if isinstance(listed, dict) else {}).items():
            path = self._summary.parent / Path(name).name
            if path not in self.paths.values() and path.is_file() and digest(path) == content:
                path.unlink()

    def clear(self) -> None:
        """Drops what a killed process has left though all files are finished, unless another process is at it."""
        if self._folder.exists() or self._lock.exists():
            with suppress(OSError), self._locked(timeout=0):
                shutil.rmtree(self._folder, ignore_errors=True)

    def _drop(self) -> None:
        """The files that have not taken their places; without a journal the folder, too."""
        if not self._record.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        for left in self._folder.iterdir():
            if left != self._record:
                left.unlink()

    @contextmanager
    def _locked(self, timeout: float = -1) -> Iterator[None]:
        """Waits for other processes that write the same files."""
        with FileLock(self._lock, timeout=timeout):
            try:
                yield
            finally:
                self._lock.unlink(missing_ok=True)


def read_record(path: Path) -> dict[str, Any] | None:
    """A journal or summary; None: there is none, or it is not of this program."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        content = json.loads(path.read_bytes())
        maker = content["maker"] if "maker" in content else content["versions"]  # of earlier releases
        if "rcm_cascade" in maker and {"mosaic", "source_sha256"} <= content.keys():
            return dict(content)
    return None
