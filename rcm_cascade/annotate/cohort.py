"""`rcm-cascade annotate`: mosaics in, annotated mosaics out."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rcm_cascade.annotate.annotator import Annotator, MosaicAnnotation
from rcm_cascade.annotate.backends import has_openvino
from rcm_cascade.annotate.finished import is_finished
from rcm_cascade.annotate.outputs import refuse_equal_stems, write_annotation
from rcm_cascade.annotate.starter import WHAT_IT_IS, starter_path
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.files import refuse_unwritable
from rcm_cascade.progress import progress_bar

IMAGE_SUFFIXES: Final = (".tif", ".tiff", ".btf", ".png", ".bmp", ".jpg", ".jpeg", ".jp2")
"""What is taken from a folder; a file that is named is tried whatever its suffix."""

OWN_ENDINGS: Final = (".labels.ome.tif", ".overlay.png")
"""Of our own outputs, which are no mosaics."""


@dataclass(frozen=True)
class Options:
    """How mosaics are annotated.

    Args:
        pixel_size_um: of all of them, where the files do not say, or say wrong.
        tile: as in `rcm_cascade.annotate.annotate_image`.
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.
        backend: ``auto``, ``torch`` or ``openvino``.
        memory: bytes, as in `rcm_cascade.annotate.annotate_image`.
        calibrate: as ``root`` in `prepare_int8`.
        accept_loss: as in `prepare_int8`.
    """

    pixel_size_um: float | None = None
    tile: int | None = None
    precision: str = "auto"
    backend: str = "auto"
    memory: int | None = None
    calibrate: Path | None = None
    accept_loss: bool = False


def annotate_files(images: Sequence[Path], checkpoint: Path | None, out: Path, options: Options | None = None) -> int:
    """Annotates mosaics one after another, reading the next and writing the last while one is computed.

    One that fails does not stop the rest; one that was finished by an earlier call, from the same content with the same
    checkpoint, is skipped.

    Args:
        images: mosaic files, and folders of them.
        checkpoint: of `rcm-cascade train`; None: the starter model that comes with the package, which is said.
        out: folder for the three files of each mosaic.
        options: how.

    Returns:
        How many failed, each reported on stderr.

    Raises:
        InputError: before any work starts, if the checkpoint is wrong, a folder holds no mosaic, or two files would get
            one name.
    """
    options = options or Options()
    files = find_images(images)
    refuse_equal_stems(files)
    if checkpoint is None:
        checkpoint = _take_starter(options)
    if options.precision == "int8":
        _prepare_int8(checkpoint, options)
    annotator = Annotator.load(checkpoint, device="cpu" if options.precision == "int8" else "auto")
    annotator.prepare(precision=options.precision, backend=options.backend)
    run = _Run(annotator, out, options)
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        for number, (file, opened) in enumerate(_ahead(reader, run.open, files), start=1):
            run.annotate(file, opened, writer, f"{number} of {len(files)}" if len(files) > 1 else "")
    run.tell()
    return len(run.failures)


def _take_starter(options: Options) -> Path:
    """The starter's file; says on stderr what it is, and how to have a model of one's own."""
    if options.precision == "int8":
        raise InputError(
            "--precision int8 is quantised on a checkpoint's training mosaics, without which the starter model comes; "
            "give a --checkpoint of your own, or leave int8 away"
        )
    path = starter_path()
    print(
        f"no --checkpoint: annotating with the starter model, {WHAT_IT_IS} ({path.with_name('README.md')}); train your "
        "own with `rcm-cascade train data=folder data.root=FOLDER run=NAME`, then give --checkpoint "
        "runs/NAME/checkpoints/best.ckpt",
        file=sys.stderr,
    )
    return path


def _prepare_int8(checkpoint: Path, options: Options) -> None:
    if not has_openvino():
        raise InputError("int8 is OpenVINO's, which is not installed: pip install 'rcm-cascade[openvino]'")
    from rcm_cascade.annotate.cpu.quantise import prepare_int8

    prepare_int8(checkpoint, options.calibrate, options.accept_loss)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as given, folders as the mosaics in them, by name.

    Raises:
        InputError: if a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if p.is_file() and _is_mosaic(p.name.lower()))
        if not inside:
            raise InputError(
                f"folder {path} holds no mosaic; expected files that end in {', '.join(IMAGE_SUFFIXES)}, directly in it"
            )
        found.extend(inside)
    return found


def _is_mosaic(name: str) -> bool:
    return name.endswith(IMAGE_SUFFIXES) and not name.endswith(OWN_ENDINGS) and not name.startswith(".")


def _ahead(
    reader: ThreadPoolExecutor, read: Callable[[Path], "_Opened | None"], files: Sequence[Path]
) -> Iterator[tuple[Path, "Future[_Opened | None]"]]:
    """Each file with what is read of it; the next one is being read meanwhile."""
    coming = reader.submit(read, files[0])
    for file, following in zip(files, [*files[1:], None], strict=True):
        current = coming
        current.exception()  # waits: one file is read at a time
        if following is not None:
            coming = reader.submit(read, following)
        yield file, current


@dataclass(frozen=True)
class _Opened:
    mosaic: Mosaic
    read_s: float


class _Run:
    """What is done with each file, and what became of it."""

    def __init__(self, annotator: Annotator, out: Path, options: Options) -> None:
        self._annotator, self._out, self._options = annotator, out, options
        self._written: Future[None] | None = None
        self._started, self._annotated = time.monotonic(), 0
        self.failures: list[str] = []
        self.skipped = 0

    def open(self, file: Path) -> _Opened | None:
        """In the reader's thread: the mosaic; None: it is finished."""
        o = self._options
        started = time.perf_counter()
        if is_finished(
            self._out,
            file,
            source_sha256=self._annotator.cache.content(file),
            checkpoint_sha256=self._annotator.checkpoint_sha256,
            pixel_size_um=o.pixel_size_um,
            precision=o.precision,
            backend=o.backend,
        ):
            return None
        refuse_unwritable(self._out)
        mosaic = self._annotator.open(file, pixel_size_um=o.pixel_size_um)
        return _Opened(mosaic, time.perf_counter() - started)

    def annotate(self, file: Path, opened: "Future[_Opened | None]", writer: ThreadPoolExecutor, place: str) -> None:
        """Annotates a file that was opened, and has it written in the writer's thread."""
        o = self._options
        try:
            found = opened.result()
            if found is None:
                self.skipped += 1
                return
            title = f"annotating {file.name}" + (f" ({place})" if place else "")
            with progress_bar(title, found.mosaic.image.size / 1e6, "MP") as advance:
                annotated = self._annotator.annotate_mosaic(
                    found.mosaic,
                    tile=o.tile,
                    precision=o.precision,
                    backend=o.backend,
                    memory=o.memory,
                    progress=advance,
                    read_s=found.read_s,
                )
        except InputError as error:
            self._fail(str(error))
            return
        self._finish_writing()
        self._written = writer.submit(self._write, file, annotated)

    def _write(self, file: Path, annotated: MosaicAnnotation) -> None:
        for path in write_annotation(self._out, file, annotated):
            print(path)

    def _finish_writing(self) -> None:
        written, self._written = self._written, None
        try:
            if written is not None:
                written.result()
        except InputError as error:
            self._fail(str(error))

    def _fail(self, sentence: str) -> None:
        print(f"error: {sentence}", file=sys.stderr)
        self.failures.append(sentence)

    def tell(self) -> None:
        """At the end: what was skipped, and again what failed."""
        self._finish_writing()
        if self.skipped:
            print(f"{self.skipped} finished earlier with this checkpoint, left as they are", file=sys.stderr)
        if len(self.failures) > 1 or (self.failures and self.skipped):
            print(f"{len(self.failures)} failed:", *(f"  {f}" for f in self.failures), sep="\n", file=sys.stderr)
