import errno
import os

import numpy as np
import pytest
import torch

from rcm_cascade.annotate.backends import (
    CPU_BUDGET,
    FEATURES_PER_FILTER,
    GPU_SHARE,
    STRIP_SHARE,
    default_budget,
    parse_memory,
    strip_pixels,
)
from rcm_cascade.annotate.engine import is_out_of_memory, priors_fit, tensor_on_disk
from rcm_cascade.annotate.tiling import plan_levels, square_cuts
from rcm_cascade.errors import InputError
from tests.annotate.telling import telling_network


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2 GB", 2 * 10**9),
        ("500MB", 5 * 10**8),
        ("1.5G", 15 * 10**8),
        (" 3 gib ", 3 * 10**9),
        ("64k", 64_000),
        ("0.25TB", 25 * 10**10),
        ("4096", 4096),
        ("4096B", 4096),
    ],
)
def test_sizes_as_users_write_them(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1 GB", "2 XB", "two", "0", "0.0 GB", "1,5 GB", "1e9", "2 GB 3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected a size such as '2 GB'"):
        parse_memory(text)


def test_the_budget_of_a_gpu_is_most_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def free(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return 10**10, 10**11

    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 7 * 10**9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 4 * 10**9)

    assert default_budget(torch.device("cuda:1")) == int(GPU_SHARE * 13 * 10**9)
    assert asked == [torch.device("cuda:1")]
    assert default_budget(torch.device("cpu")) == CPU_BUDGET


def test_a_strip_and_its_features_take_their_share() -> None:
    pixels = strip_pixels(10**9, 24, torch.float32)

    assert pixels * FEATURES_PER_FILTER * 24 * 4 <= STRIP_SHARE * 10**9 < (pixels + 1) * FEATURES_PER_FILTER * 24 * 4
    assert strip_pixels(10**9, 24, torch.float64) == pixels // 2
    assert strip_pixels(10**9, 8, torch.float32) == pytest.approx(3 * pixels, abs=3)


def test_priors_fit_if_the_two_largest_that_live_at_once_do() -> None:
    model = telling_network()
    shape = (320, 640)
    plans = plan_levels(model.geometry, model.alignment, shape, square_cuts(model.geometry, 64))
    assert [p.frame for p in plans] == [(80, 160), (160, 320), (320, 640)]
    needed = (80 * 160 + 160 * 320) * 6 * 4

    assert priors_fit(int(needed / (1 - STRIP_SHARE)), plans, 6, torch.float32)
    assert not priors_fit(int(needed / (1 - STRIP_SHARE)) - 2, plans, 6, torch.float32)
    assert priors_fit(int(needed / (1 - STRIP_SHARE) / 2), plans, 6, torch.bfloat16)
    assert priors_fit(1, plans[-1:], 6, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_tensor_on_disk_holds_what_is_written_into_it(dtype: torch.dtype) -> None:
    values = torch.randn((1, 3, 40, 50), generator=torch.Generator().manual_seed(0)).to(dtype)

    tensor = tensor_on_disk((1, 3, 40, 50), dtype)
    tensor[..., :25] = values[..., :25]
    tensor[..., 25:] = values[..., 25:]

    assert (tensor.dtype, tensor.shape) == (dtype, values.shape)
    assert torch.equal(tensor, values)


def test_a_tensor_on_disk_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    tensor = tensor_on_disk((100, 100), torch.float32)
    tensor.fill_(1.5)

    assert tensor.sum() == 15_000
    assert not list(folder.iterdir())


def test_each_library_s_way_to_say_it_is_known() -> None:
    with pytest.raises(RuntimeError) as torch_s:
        torch.empty(2**55, dtype=torch.uint8)
    with pytest.raises(MemoryError) as numpy_s:
        np.empty(2**55, np.uint8)

    assert is_out_of_memory(torch_s.value)
    assert is_out_of_memory(numpy_s.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("Exception from src/core.cpp: std::bad_alloc"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(3) @ torch.zeros(4)

    assert not is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(InputError, match=r"no room for 0\.40 GB .*No space left.*TMPDIR"):
        tensor_on_disk((1000, 1000, 100), torch.float32)
