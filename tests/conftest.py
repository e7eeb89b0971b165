"""Fixtures for all tests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable, LabelClass
from rcm_cascade.data.cache import MosaicCache
from tests.running import finished_run, phantoms
from tests.scoring import results

__all__ = ["finished_run", "phantoms", "results"]

TEST_DEVICE = "RCM_CASCADE_TEST_DEVICE"
"""For tests marked gpu: cuda; or cpu, where they are rehearsed."""

if os.environ.get(TEST_DEVICE) != "cuda":
    # Beside a GPU tests run on the processor, too: that is where they hold bit for bit.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

REAL_DATA_VARIABLE = "RCM_CASCADE_TEST_DATA"

THREE = ClassTable((LabelClass(0, "a", "#000000"), LabelClass(1, "b", "#ff0000"), LabelClass(2, "c", "#00ff00")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds the real data sets axon-sem and aerial."""
    folder = os.environ.get(REAL_DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{REAL_DATA_VARIABLE} is not set: it names the folder with the real data sets axon-sem and aerial")
    root = Path(folder)
    for name in ("axon-sem", "aerial"):
        assert (root / name / "dataset.yaml").is_file(), f"{REAL_DATA_VARIABLE} is {root}, and {name} is not in it"
    return root


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps decoded mosaics of tests out of the user's cache; processes that a test starts inherit it."""
    monkeypatch.setenv("RCM_CASCADE_CACHE", str(tmp_path_factory.getbasetemp() / "mosaic-cache"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tests beside others, which would have the same cores, and for results to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def classes() -> ClassTable:
    return THREE


@pytest.fixture
def cache(tmp_path: Path) -> MosaicCache:
    return MosaicCache(tmp_path / "cache")


@pytest.fixture(scope="session")
def make_texture() -> Callable[..., NDArray[Any]]:
    """Makes a smooth grey picture ``(height, width)`` that uses the dtype's whole range."""

    def make(height: int, width: int, dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
        noise = np.random.default_rng(seed).normal(size=(height, width))
        smooth = cv2.GaussianBlur(noise, (0, 0), 3)
        smooth = (smooth - smooth.min()) / np.ptp(smooth)
        picture: NDArray[Any] = (smooth * np.iinfo(dtype).max).round().astype(dtype)
        assert len(np.unique(picture)) > 50
        assert not np.array_equal(picture, picture[::-1])
        return picture

    return make


@pytest.fixture(scope="session")
def make_labels() -> Callable[..., NDArray[np.uint8]]:
    """Makes a label map ``(height, width)`` of classes 0–2 and 255 in patches, each on at least 5 % of the pixels."""

    def make(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
        coarse = np.random.default_rng(seed).choice(
            np.array([0, 1, 2, 255], np.uint8), size=(height // 4 + 1, width // 4 + 1)
        )
        labels = np.kron(coarse, np.ones((4, 4), np.uint8))[:height, :width]
        assert all((labels == value).mean() > 0.05 for value in (0, 1, 2, 255))
        return np.ascontiguousarray(labels)

    return make
