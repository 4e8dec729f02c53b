"""Reading ahead and writing behind: one thread each, so that neither waits for the model; knows no pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Background(Generic[Item]):
    """Calls a sink from a thread of its own, item by item; an error there surfaces at the next put or on exit."""

    def __init__(self, sink: Callable[[Item], None]) -> None:
        self._sink = sink
        self._pool = ThreadPoolExecutor(1, "eorestore-writer")
        self._last: Future[None] | None = None

    def put(self, item: Item) -> None:
        """Hand an item over; waits until the one before is done."""
        self._wait()
        self._last = self._pool.submit(self._sink, item)

    def __enter__(self) -> Background[Item]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._wait()

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each fetched by a thread while the one before is worked on; never more than one ahead."""
    with ThreadPoolExecutor(1, "eorestore-reader") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
