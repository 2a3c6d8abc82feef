"""An iterator run ahead in a thread of its own."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()


def prefetch(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yields the same items while a thread prepares up to `depth` ahead.

    An exception of `items` is raised at the consumer, in order. When the consumer
    stops early, the thread ends at its next item and `items` is closed.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    break
        except BaseException as error:  # handed to the consumer, which raises it
            put((None, error))
        finally:
            if hasattr(items, "close"):
                items.close()
            put(_END)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while (entry := ready.get()) is not _END:
            item, error = entry
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        thread.join()
