"""Reads the file that W&B writes offline, as `wandb sync` would.

W&B ships no reader in Python any more. The file is a log in LevelDB's format: a header of 7 bytes, then blocks of 32
KiB filled with pieces of records, each piece with a checksum (4 bytes), its length (2) and its kind (1: the whole of a
record, 2: its beginning, 3: its middle, 4: its end), little-endian.
"""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768
PATIENCE = 20.0
"""Seconds."""


@dataclass
class WandbFile:
    """What a run's file says.

    Args:
        run: its name, group, tags, …
        config: as W&B shows it, with its own ``_wandb``.
        history: one dictionary a row.
        summary: what was written into it by hand.
        best: metrics of which the summary keeps the greatest value.
        artifacts: all that were logged, tables too.
        exit_code: of the run; None: its end is not written yet.
    """

    path: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    best: set[str] = field(default_factory=set)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None

    def column(self, key: str) -> list[tuple[int, Any]]:
        """Step and value of each row that has the key."""
        return [(row["_step"], row[key]) for row in self.history if key in row]

    def media(self, path: str) -> Path:
        """Where a file that a row names lies."""
        return self.path.parent / "files" / path

    def pixels(self, path: str) -> NDArray[np.uint8]:
        """A picture or a mask that a row names."""
        with Image.open(self.media(path)) as picture:
            return np.asarray(picture)


def read_wandb(folder: Path) -> WandbFile:
    """Reads the only offline run below a folder."""
    (path,) = folder.rglob("*.wandb")
    return read_wandb_file(path)


def read_wandb_file(path: Path) -> WandbFile:
    """Reads a ``.wandb`` file, once W&B's other process has written the end of the run."""
    until = time.monotonic() + PATIENCE
    while (content := _read(path)).exit_code is None:
        assert time.monotonic() < until, f"{path} does not say how the run ended"
        time.sleep(0.1)
    return content


def _read(path: Path) -> WandbFile:
    content = WandbFile(path)
    for raw in read_records(path.read_bytes()):
        record = Record.FromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            content.run = record.run
            _update(content.config, record.run.config.update)
        elif kind == "config":
            _update(content.config, record.config.update)
        elif kind == "history":
            row: dict[str, Any] = {}
            _update(row, record.history.item)
            content.history.append(row)
        elif kind == "summary":
            _update(content.summary, record.summary.update)
        elif kind == "metric" and record.metric.summary.max:
            content.best.add(record.metric.name)
        elif kind == "artifact":
            content.artifacts.append(record.artifact)
        elif kind == "exit":
            content.exit_code = record.exit.exit_code
    return content


def _update(target: dict[str, Any], items: Any) -> None:
    for item in items:
        *parents, last = item.nested_key or [item.key]
        place = target
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = json.loads(item.value_json)


def read_records(content: bytes) -> Iterator[bytes]:
    """The records of a file, without one that is still being written."""
    assert b":W&B".startswith(content[:4])
    place, parts = 7, b""
    while place + 7 <= len(content):
        left = BLOCK - place % BLOCK
        if left < 7:  # too little for a piece: padding
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        if kind == 0:  # the rest of a block that was flushed
            place += left
            continue
        if place + 7 + length > len(content):
            return
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""
