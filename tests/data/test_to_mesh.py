"""Batches on their way to the devices."""

import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lipsync_jax.data.device import to_mesh


@pytest.fixture(scope="module")
def sharding():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("data"))


def numbered(count, delay=0.0):
    for k in range(count):
        time.sleep(delay)
        yield {"x": np.full((16, 3), k, np.uint8), "y": np.arange(16.0)}


def test_batches_arrive_whole_and_in_order(sharding):
    feed = to_mesh(numbered(5), sharding)
    batches = list(feed)
    feed.close()
    assert [int(b["x"][0, 0]) for b in batches] == [0, 1, 2, 3, 4]
    first = batches[0]
    assert first["x"].sharding == sharding and first["x"].dtype == np.uint8
    assert {s.data.shape for s in first["x"].addressable_shards} == {(2, 3)}
    np.testing.assert_array_equal(first["y"], np.arange(16.0))
    assert next(feed, None) is None


def test_batches_are_ready_before_they_are_asked_for(sharding):
    taken = threading.Semaphore(0)

    def counted():
        for batch in numbered(9):
            taken.release()
            yield batch

    feed = to_mesh(counted(), sharding, ahead=3)
    assert all(taken.acquire(timeout=10) for _ in range(3))
    assert not taken.acquire(timeout=0.05)
    next(feed)
    assert taken.acquire(timeout=10)
    feed.close()


def test_waiting_is_measured(sharding):
    feed = to_mesh(numbered(4, delay=0.1), sharding)
    list(feed)
    assert feed.wait_seconds > 0.25
    feed.close()
    quick = to_mesh(numbered(2), sharding)
    time.sleep(0.3)
    list(quick)
    assert quick.wait_seconds < 0.1
    quick.close()


def test_an_error_of_the_loader_reaches_the_loop(sharding):
    def broken():
        yield from numbered(1)
        raise KeyError("lost")

    feed = to_mesh(broken(), sharding)
    next(feed)
    with pytest.raises(KeyError, match="lost"):
        next(feed)
    feed.close()


def test_closing_ends_the_thread_and_the_loader(sharding):
    class Endless:
        closed = False

        def __iter__(self):
            return self

        def __next__(self):
            return {"x": np.zeros(8)}

        def close(self):
            self.closed = True

    before = threading.active_count()
    loader = Endless()
    feed = to_mesh(loader, sharding)
    next(feed)
    feed.close()
    feed.close()
    assert loader.closed and threading.active_count() == before
