"""Many mosaics, one after another: the next is read and the last is written while one is computed."""

import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.annotate.annotator import Annotator, MosaicAnnotation
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.lesion import read_lesion_mask
from rcm_cascade.annotate.outputs import (
    FORMATS,
    is_finished,
    journal_of,
    refuse_equal_stems,
    stem_of,
    write_annotation,
)
from rcm_cascade.annotate.shares import Share, this_share
from rcm_cascade.annotate.starter import WHAT_IT_IS, starter_path
from rcm_cascade.annotate.table import refuse_other_table, write_table
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.formats.base import suffixes
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError, explain_os_error, reason
from rcm_cascade.files import printable, refuse_unwritable
from rcm_cascade.progress import progress_bar
from rcm_cascade.threads import say_what_is_left


class Companion(Protocol):
    """What is made of an annotated mosaic beside its files."""

    def is_finished(self, out: Path, image: Path) -> bool:
        """Whether it is there, and of the files that are there."""

    def write(self, out: Path, image: Path, annotated: MosaicAnnotation) -> Path:
        """Makes it anew, whole or not at all."""


def annotate_files(
    images: Sequence[Path],
    checkpoints: Sequence[Path],
    out: Path,
    options: AnnotationOptions | None = None,
    pixel_size_um: float | None = None,
    replace: bool = False,
    wanted: Wanted | None = None,
    companion: Companion | None = None,
) -> int:
    """Annotates mosaics, each into files of its name.

    Several processes, of torchrun, Slurm or a Slurm array, share the mosaics, each GPU one process. Of more than one
    mosaic the folder's ``summary.csv`` is written, too. One that fails does not stop the rest; one that was finished by
    an earlier call, from the same content with the same checkpoint, is skipped. One that would replace files of others
    is refused before work starts.

    Args:
        images: mosaic files, and folders of them.
        checkpoints: of `rcm-cascade train`; several: their probabilities are averaged; none: the starter model that
            comes with the package, which is said.
        out: folder for the files of each mosaic.
        options: tile, memory, precision and backend.
        pixel_size_um: of all of them, where the files do not say, or say wrong.
        replace: whether files of others in the folder may be replaced.
        wanted: files beside labels, overlay and summary; None: those that `Wanted` has by itself.
        companion: makes more of each mosaic, after its files.

    Returns:
        How many failed, each reported on stderr.

    Raises:
        InputError: before any work starts, if the checkpoint or an option is wrong, a folder holds no mosaic, or two
            files would get one name.
    """
    options, wanted, share = options or AnnotationOptions(), wanted or Wanted(), this_share()
    everything = find_images(images)
    refuse_equal_stems(everything)
    if len(everything) > 1 and not replace:
        refuse_other_table(out)
    failures: list[str] = []
    files = _own(share.of(everything), out, replace, wanted, failures)
    if files:
        _annotate(files, checkpoints, out, options, pixel_size_um, replace, wanted, companion, share, failures)
    if len(everything) > 1 and out.is_dir():
        write_table(out)
    return len(failures)


def _annotate(
    files: Sequence[Path],
    checkpoints: Sequence[Path],
    out: Path,
    options: AnnotationOptions,
    pixel_size_um: float | None,
    replace: bool,
    wanted: Wanted,
    companion: Companion | None,
    share: Share,
    failures: list[str],
) -> None:
    """Annotates this process's share, one after another; what failed goes to ``failures``."""
    device = "cpu" if options.precision == "int8" else share.device
    annotator = Annotator.load_all(checkpoints or [starter_path()], device)
    for each in (annotator, *annotator.others):
        each.prepare(options)
    say_what_is_left()
    if not checkpoints and not share.number:
        print(
            f"no --checkpoint: annotating with the starter model, {WHAT_IT_IS} "
            f"({starter_path().with_name('README.md')}); train your own with `rcm-cascade train data=folder "
            "data.root=FOLDER run=NAME`, then give --checkpoint runs/NAME/checkpoints/best.ckpt",
            file=sys.stderr,
        )
    finished = 0

    def read(file: Path) -> tuple[Mosaic, NDArray[np.bool_] | None, float] | None:
        """The mosaic, its lesion as drawn, and the seconds that reading took; None: it is finished."""
        started = time.perf_counter()
        finished = is_finished(out, file, annotator, options, pixel_size_um, wanted)
        if finished and (companion is None or companion.is_finished(out, file)):
            journal_of(out, file).clear()
            return None
        refuse_unwritable(out)
        mosaic, mask = annotator.open(file, pixel_size_um=pixel_size_um), None
        if wanted.lesion_mask is not None:
            mask = read_lesion_mask(wanted.lesion_mask, stem_of(file), mosaic.native_shape)
        return mosaic, mask, time.perf_counter() - started

    def write(file: Path, annotated: MosaicAnnotation) -> None:
        with _reported(failures, file):
            for path in write_annotation(out, file, annotated, replace, wanted).values():
                print(printable(str(path)))
            if companion is not None:
                print(printable(str(companion.write(out, file, annotated))))

    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        writing: Future[None] = writer.submit(lambda: None)
        reading = reader.submit(read, files[0])
        for number, file in enumerate(files, start=1):
            current = reading
            if number < len(files):
                reading = reader.submit(read, files[number])
            with _reported(failures, file):
                found = current.result()
                if found is None:
                    finished += 1
                    continue
                mosaic, mask, read_s = found
                title = f"annotating {mosaic.name}" + (f" ({number} of {len(files)})" if len(files) > 1 else "")
                with progress_bar(title, mosaic.image.size / 1e6, "MP") as advance:
                    annotated = annotator.annotate_mosaic(
                        mosaic, options, progress=advance, read_s=read_s, entropy=wanted.needs_entropy
                    )
                annotated = dataclasses.replace(annotated, lesion_mask=mask)
                writing.result()  # no more than one waits to be written
                writing = writer.submit(write, file, annotated)
        writing.result()
    if finished:
        print(f"{finished} finished earlier with this checkpoint, left as they are", file=sys.stderr)
    if len(failures) > 1 or (failures and finished):
        print(f"{len(failures)} failed:", *(f"  {f}" for f in failures), sep="\n", file=sys.stderr)


def _own(files: Iterable[Path], out: Path, replace: bool, wanted: Wanted, failures: list[str]) -> list[Path]:
    """Those whose files may be written; what speaks against the others is reported."""
    cache, own = MosaicCache(), []
    for file in files:
        with _reported(failures, file):
            journal_of(out, file, wanted).refuse_others(partial(cache.content, file), replace)
            own.append(file)
    return own


@contextmanager
def _reported(failures: list[str], file: Path) -> Iterator[None]:
    """A mosaic that fails is said on stderr, and stops nothing, whatever it made a library raise."""
    try:
        yield
    except InputError as error:
        failures.append(str(error))
    except OSError as error:
        failures.append(f"{file} cannot be annotated: {explain_os_error(error)}")
    except Exception as error:
        failures.append(
            f"{file} cannot be annotated ({type(error).__name__}: {reason(error)}); rename it or save it again, and "
            "report this if it does not help"
        )
    else:
        return
    print(f"error: {failures[-1]}", file=sys.stderr)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as given, folders as the mosaics in them, by name.

    Raises:
        InputError: if a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        folder = os.path.isdir(path)  # noqa: PTH112  # which says so of impossible names, too
        inside = sorted(p for p in path.iterdir() if p.is_file() and _is_mosaic(p)) if folder else [path]
        if not inside:
            raise InputError(
                f"folder {path} holds no mosaic; expected files that end in {', '.join(suffixes())}, directly in it"
            )
        found.extend(inside)
    return found


def _is_mosaic(path: Path) -> bool:
    name, written = path.name.lower(), tuple(module.SUFFIX for module in FORMATS.values())
    return name.endswith(suffixes()) and not name.endswith(written) and not name.startswith(".")
