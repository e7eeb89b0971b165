import threading
from collections.abc import Iterator
from itertools import count

import pytest
import torch

from rcm_cascade.annotate.together import together


def counting(name: str, upto: int, running: list[str], most: list[int]) -> Iterator[tuple[str, int]]:
    running.append(name)
    for number in range(upto):
        most.append(len(running))
        yield name, number
    running.remove(name)


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("lengths", [[], [0], [5], [3, 0, 40, 7, 1]])
def test_all_items_come_each_iterator_s_in_their_order(at_once: int, lengths: list[int]) -> None:
    running: list[str] = []
    most: list[int] = [0]
    iterators = [counting(str(index), length, running, most) for index, length in enumerate(lengths)]

    found = list(together(iterators, at_once))

    for index, length in enumerate(lengths):
        assert [number for name, number in found if name == str(index)] == list(range(length))
    assert len(found) == sum(lengths)
    assert max(most) <= at_once


def test_two_run_at_a_time() -> None:
    meet = threading.Barrier(2, timeout=20)

    def waiting() -> Iterator[bool]:
        meet.wait()
        yield torch.is_inference_mode_enabled()

    assert list(together([waiting(), waiting()], 2)) == [True, True]


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_error_of_one_ends_all(at_once: int) -> None:
    def failing() -> Iterator[int]:
        yield 0
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        for _ in together([failing(), iter(count())], at_once):
            pass
    assert not [t for t in threading.enumerate() if t.name.startswith("band")]


def test_who_stops_listening_stops_them() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        items = together([iter(count()), iter(count()), iter(count())], 2)
        assert next(items) == 0
        assert torch.get_num_threads() == 1  # PyTorch's own work does not wait for other threads' meanwhile
        items.close()  # type: ignore[attr-defined]  # of a generator

        assert torch.get_num_threads() == 2
        assert not [t for t in threading.enumerate() if t.name.startswith("band")]
    finally:
        torch.set_num_threads(threads)
