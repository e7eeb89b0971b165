import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.data import cache as cache_module
from rcm_cascade.data.cache import MosaicCache, cache_file, default_folder, reopen
from rcm_cascade.errors import InputError


def numbers(seed: int, size: int = 1000) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size // 10, 10)).astype(np.uint8)


class Builder:
    """Counts how often it is asked."""

    def __init__(self, seed: int = 0, size: int = 1000) -> None:
        self.seed, self.size, self.calls = seed, size, 0

    def __call__(self) -> NDArray[np.uint8]:
        self.calls += 1
        return numbers(self.seed, self.size)


def test_built_once_then_mapped_read_only(cache: MosaicCache) -> None:
    build, key = Builder(), cache.key("image", "abc", (3, 4))
    for _ in range(2):
        found = cache.get(key, build)
        np.testing.assert_array_equal(found, numbers(0))
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
    assert build.calls == 1
    assert cache_file(found) == cache.folder / key[:2] / f"{key}.npy"
    assert [path.name for path in cache.folder.rglob("*") if path.is_file()] == [f"{key}.npy"]


def test_keys_tell_their_parts_apart(cache: MosaicCache, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [cache.key("a", "bc"), cache.key("ab", "c"), cache.key("a", "bc", 1), cache.key("a", "bc", (1, 2))]
    assert len(set(keys)) == 4
    assert cache.key("a", "bc") == keys[0]
    monkeypatch.setattr(cache_module, "FORMAT", cache_module.FORMAT + 1)
    assert cache.key("a", "bc") != keys[0]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw[:40], lambda raw: b"", lambda raw: b"x" * 2000]
)
def test_a_damaged_file_is_rebuilt(cache: MosaicCache, damage: Callable[[bytes], bytes]) -> None:
    build, key = Builder(), cache.key("image")
    path = cache_file(cache.get(key, build))
    assert path is not None
    raw = path.read_bytes()
    path.unlink()  # a new file, as another process would leave it; the old one is still mapped here
    path.write_bytes(damage(raw))
    np.testing.assert_array_equal(cache.get(key, build), numbers(0))
    assert build.calls == 2


def test_a_failed_build_leaves_nothing(cache: MosaicCache) -> None:
    def fail() -> NDArray[Any]:
        raise InputError("no image")

    with pytest.raises(InputError, match="no image"):
        cache.get(cache.key("image"), fail)
    assert [path for path in cache.folder.rglob("*") if path.is_file() and path.stat().st_size] == []
    assert len(cache.get(cache.key("image"), Builder())) == 100


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_the_least_recently_used_go_first_but_none_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = MosaicCache(tmp_path / "cache", max_bytes=35_000)
    keys = [cache.key(i) for i in range(3)]
    paths = []
    for i, key in enumerate(keys):
        path = cache_file(cache.get(key, Builder(i, 10_000)))
        assert path is not None
        age(path, days=3 - i)
        paths.append(path)
    monkeypatch.setattr(cache_module, "_used_here", set())  # as if another process had made them
    cache.get(keys[0], Builder())  # used again: now the youngest, and in use
    assert time.time() - paths[0].stat().st_mtime < 3600
    assert capsys.readouterr().err == ""
    cache.get(cache.key(3), Builder(3, 10_000))
    assert [path.exists() for path in paths] == [True, False, True]
    message = capsys.readouterr().err
    assert message == f"cache: dropped {paths[1]} to stay below 0.00 GB\n"
    age(paths[0], days=9)
    cache.get(cache.key(4), Builder(4, 30_000))
    assert [path.exists() for path in paths] == [True, False, False]
    assert len(list(cache.folder.rglob("*.npy"))) == 3  # three in use, above the limit


def test_what_killed_processes_left_goes_as_the_rest(tmp_path: Path) -> None:
    cache = MosaicCache(tmp_path / "cache", max_bytes=1500)
    cache.get(cache.key(0), Builder())
    (folder,) = (path for path in cache.folder.iterdir() if path.is_dir())
    left = folder / ".old.npy.123.tmp"
    left.write_bytes(b"half" * 100)
    age(left, days=2)
    cache.get(cache.key(1), Builder())
    assert not left.exists()


def test_content_is_remembered_while_size_and_time_stand(
    cache: MosaicCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.tif"
    path.write_bytes(b"one")
    age(path, days=1)
    first = cache.content(path)
    (note,) = (cache.folder / "content").iterdir()
    assert json.loads(note.read_text())[3] == first

    def forbidden(*_: Any) -> Any:
        raise AssertionError("hashed again")

    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", forbidden)
        assert cache.content(path) == first
        path.write_bytes(b"two")
        with pytest.raises(AssertionError, match="hashed again"):
            cache.content(path)
    assert cache.content(path) != first
    second, ticked = cache.content(path), path.stat().st_mtime_ns
    path.write_bytes(b"six")
    os.utime(path, ns=(ticked, ticked))  # within one tick of a coarse clock: the time does not tell
    assert cache.content(path) not in (first, second)
    path.write_bytes(b"one")
    assert cache.content(path) == first
    note.write_text("{")
    assert cache.content(path) == first


def test_same_content_same_hash_elsewhere(cache: MosaicCache, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    assert cache.content(tmp_path / "a") == cache.content(tmp_path / "b")
    with pytest.raises(InputError, match="cannot be read"):
        cache.content(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read"):
        cache.content(tmp_path)


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    age(tmp_path / "file", days=1)
    cache = MosaicCache(tmp_path / "file" / "cache")
    for use in (lambda: cache.get("ab" * 32, Builder()), lambda: cache.content(tmp_path / "file")):
        with pytest.raises(InputError, match=r"cannot be written .* set RCM_CASCADE_CACHE to another folder"):
            use()


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RCM_CASCADE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert MosaicCache().folder == tmp_path / "own"
    monkeypatch.delenv("RCM_CASCADE_CACHE")
    assert default_folder() == tmp_path / "xdg" / "rcm_cascade"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "rcm_cascade"


def test_reopening(cache: MosaicCache) -> None:
    found = cache.get(cache.key(0), Builder())
    path = cache_file(found)
    assert path is not None
    np.testing.assert_array_equal(reopen(path), found)
    assert cache_file(found[10:]) is None
    assert cache_file(np.asarray(found).copy()) is None
    path.unlink()
    with pytest.raises(InputError, match="is gone or damaged"):
        reopen(path)


BUILD_SLOWLY = """
import sys, time
from pathlib import Path
import numpy as np
from rcm_cascade.data.cache import MosaicCache

folder, log, ready, go = map(Path, sys.argv[1:])

def build():
    with log.open("a") as file:
        file.write("built\\n")
    time.sleep(0.3)
    return np.arange(1000, dtype=np.uint8).reshape(10, 100)

cache = MosaicCache(folder)
ready.touch()
while not go.exists():
    time.sleep(0.005)
assert cache.get(cache.key("shared"), build).sum() == np.arange(1000, dtype=np.uint8).sum()
"""


def test_of_several_processes_one_builds(tmp_path: Path) -> None:
    folder, log, go = tmp_path / "cache", tmp_path / "log", tmp_path / "go"
    ready = [tmp_path / f"ready{i}" for i in range(3)]
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", BUILD_SLOWLY, folder, log, path, go]) for path in ready
    ]
    try:
        deadline = time.monotonic() + 60
        while not all(path.exists() for path in ready) and time.monotonic() < deadline:
            time.sleep(0.01)
        go.touch()
        assert [worker.wait(30) for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert log.read_text() == "built\n"
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1
