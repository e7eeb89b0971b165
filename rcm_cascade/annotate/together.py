"""Several iterators at once, each in a thread of its own: bands of a mosaic, each on a part of the processor."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import torch

T = TypeVar("T")

_ENDED: Final = object()


def together(iterators: Sequence[Iterable[T]], at_once: int) -> Iterator[T]:
    """Items of several iterators as they come, in the order of each.

    Args:
        iterators: that release the interpreter's lock where they compute. An error of one ends all, and is raised.
        at_once: how many run at a time; 1: one after the other, in the calling thread.
    """
    if at_once == 1:
        for iterator in iterators:
            yield from iterator
        return
    ready: queue.Queue[object] = queue.Queue(maxsize=at_once)
    stopped = threading.Event()

    def run(iterator: Iterable[T]) -> None:
        end: object = _ENDED
        try:
            with torch.inference_mode():  # which a thread has for itself
                for item in iterator:
                    ready.put(item)
                    if stopped.is_set():
                        break
        except BaseException as error:  # raised where the items are taken
            end = _Failed(error)
        ready.put(end)

    with one_thread_each(), ThreadPoolExecutor(at_once, "band") as pool:
        running = [pool.submit(run, iterator) for iterator in iterators]
        try:
            for _ in running:
                while (item := ready.get()) is not _ENDED:
                    if isinstance(item, _Failed):
                        raise item.error
                    yield item  # type: ignore[misc]  # of one of the iterators
        finally:
            stopped.set()
            for future in running:
                future.cancel()
            while not all(future.done() for future in running):  # one may wait for room to put its last item
                with suppress(queue.Empty):
                    ready.get(timeout=0.01)


@dataclass(frozen=True)
class _Failed:
    """What ended an iterator."""

    error: BaseException


@contextmanager
def one_thread_each() -> Iterator[None]:
    """PyTorch's own operations on one thread meanwhile: several threads that each call on all wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
