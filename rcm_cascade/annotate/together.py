"""Several iterators at once, each in a thread of its own: bands of a mosaic, each on a part of the processor."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
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
        with torch.inference_mode():  # which a thread has for itself
            for item in iterator:
                ready.put(item)
                if stopped.is_set():
                    return

    with one_thread_each(), ThreadPoolExecutor(at_once, "band") as pool:
        running = [pool.submit(run, iterator) for iterator in iterators]
        watch = threading.Thread(target=_report_end, args=(running, ready), daemon=True)
        watch.start()
        try:
            while (item := ready.get()) is not _ENDED:
                yield item  # type: ignore[misc]  # of one of the iterators
            for future in running:
                if future.done():
                    future.result()
        finally:
            stopped.set()
            for future in running:
                future.cancel()
            while watch.is_alive():
                _empty(ready)
                watch.join(0.01)


def _report_end(running: Sequence["Future[None]"], ready: "queue.Queue[object]") -> None:
    wait(running, return_when=FIRST_EXCEPTION)
    ready.put(_ENDED)
    wait(running)


def _empty(ready: "queue.Queue[object]") -> None:
    while not ready.empty():
        ready.get_nowait()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """PyTorch's own operations on one thread meanwhile: several threads that each call on all wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
