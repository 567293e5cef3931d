"""The flusher: who waits for which sync, and what happens when one fails."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from ottla.broker.log.flusher import BEARABLE_SECONDS, CROWDED_SYNCS, QUICK_SECONDS, SAMPLES_MIN, THREADS_MAX, Flusher

PATIENCE_S = 10.0


class File:
    """Something to sync; each sync waits until the test lets it go on."""

    def __init__(self) -> None:
        self.written = 0
        self.durable = 0
        self.begun: queue.Queue[None] = queue.Queue()
        self.go_on = threading.Semaphore(0)
        self.at_once = 0
        self.failure: OSError | None = None

    def mark(self) -> object:
        return self.written

    def sync(self) -> None:
        self.at_once += 1
        assert self.at_once == 1, "one sync of a file at a time"
        self.begun.put(None)
        assert self.go_on.acquire(timeout=PATIENCE_S)
        self.at_once -= 1
        if self.failure:
            raise self.failure

    def synced(self, mark: object) -> None:
        assert isinstance(mark, int)
        self.durable = max(self.durable, mark)


class Posted:
    """The event loop's side: runs what is posted, when the test asks for it."""

    def __init__(self) -> None:
        self.posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self.failures: list[OSError] = []

    def run_one(self) -> None:
        self.posted.get(timeout=PATIENCE_S)()


@pytest.fixture
def loop() -> Posted:
    return Posted()


@pytest.fixture
def flusher(loop: Posted) -> Iterator[Flusher]:
    running = Flusher(loop.posted.put, loop.failures.append)
    yield running
    running.close()


def test_all_that_waits_during_a_sync_shares_the_next_one(loop: Posted, flusher: Flusher) -> None:
    file, done = File(), list[int]()
    file.written = 1
    flusher.flush(file, lambda: done.append(1))
    flusher.submit()
    file.begun.get(timeout=PATIENCE_S)
    for number in (2, 3, 4):
        file.written = number
        flusher.flush(file, lambda number=number: done.append(number))
        flusher.submit()
    file.go_on.release()
    loop.run_one()
    assert (done, file.durable) == ([1], 1)
    file.go_on.release()
    loop.run_one()
    assert (done, file.durable) == ([1, 2, 3, 4], 4)
    assert loop.posted.empty()


def test_different_files_are_synced_at_the_same_time(loop: Posted, flusher: Flusher) -> None:
    files = [File() for _ in range(THREADS_MAX)]
    for file in files:
        flusher.flush(file)
        flusher.submit()
    for file in files:
        file.begun.get(timeout=PATIENCE_S)
    for file in files:
        file.go_on.release()
        loop.run_one()


def test_a_slow_file_does_not_hold_up_another(loop: Posted, flusher: Flusher) -> None:
    slow, quick, done = File(), File(), list[str]()
    flusher.flush(slow, lambda: done.append("slow"))
    flusher.submit()
    flusher.flush(quick, lambda: done.append("quick"))
    flusher.submit()
    quick.go_on.release()
    loop.run_one()
    assert done == ["quick"]
    slow.go_on.release()
    loop.run_one()
    assert done == ["quick", "slow"]


def test_after_a_failed_sync_nothing_is_done_any_more(loop: Posted, flusher: Flusher) -> None:
    file, other, done = File(), File(), list[int]()
    file.failure = OSError("no")
    flusher.flush(file, lambda: done.append(1))
    flusher.submit()
    file.begun.get(timeout=PATIENCE_S)
    flusher.flush(file, lambda: done.append(2))
    flusher.submit()
    file.go_on.release()
    loop.run_one()
    assert loop.failures == [file.failure]
    other.go_on.release()
    flusher.flush(other, lambda: done.append(3))
    flusher.submit()
    flusher.close()
    assert done == []
    assert loop.posted.empty()


def test_closing_syncs_what_waits(loop: Posted) -> None:
    flusher = Flusher(loop.posted.put, loop.failures.append)
    files, done = [File() for _ in range(3 * THREADS_MAX)], list[int]()
    for number, file in enumerate(files):
        file.go_on.release()
        flusher.flush(file, lambda number=number: done.append(number))
        flusher.submit()
    flusher.close()
    while not loop.posted.empty():
        loop.run_one()
    assert sorted(done) == list(range(len(files)))


class Disk:
    """A clock that only syncs move, and files whose syncs take the time the test says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0
        self.threads: list[threading.Thread] = []
        self.failure: OSError | None = None

    def clock(self) -> float:
        return self.now

    def mark(self) -> object:
        return None

    def sync(self) -> None:
        self.threads.append(threading.current_thread())
        self.now += self.seconds
        if self.failure:
            raise self.failure

    def synced(self, _: object) -> None:
        """Nothing to tell."""


def known_disk(loop: Posted, seconds: float) -> tuple[Disk, Flusher]:
    """A flusher that has seen enough syncs of this length to know its disk."""
    disk = Disk()
    disk.seconds = seconds
    flusher = Flusher(loop.posted.put, loop.failures.append, disk.clock)
    for _ in range(SAMPLES_MIN):
        flusher.flush(disk)
        flusher.submit()
        loop.run_one()
        while flusher._syncing:  # the thread takes note of its end just after it has posted
            pass
    assert threading.current_thread() not in disk.threads
    return disk, flusher


def test_a_quick_disk_is_synced_by_the_loop_itself(loop: Posted) -> None:
    disk, flusher = known_disk(loop, QUICK_SECONDS / 10)
    done = list[int]()
    flusher.flush(disk, lambda: done.append(1))
    flusher.flush(disk, lambda: flusher.flush(disk, lambda: done.append(2)))
    flusher.submit()
    assert done == [1, 2]
    assert disk.threads[-2:] == [threading.current_thread()] * 2
    flusher.close()


def test_a_slow_disk_never_holds_up_the_loop(loop: Posted) -> None:
    disk, flusher = known_disk(loop, BEARABLE_SECONDS * 2)
    flusher.flush(disk)
    flusher.submit()
    loop.run_one()
    assert disk.threads[-1] is not threading.current_thread()
    flusher.close()


def test_a_long_sync_is_left_to_the_threads_while_others_want_something(loop: Posted) -> None:
    disk, flusher = known_disk(loop, (QUICK_SECONDS + BEARABLE_SECONDS) / 2)
    here = threading.current_thread()

    def sync(*, waited: bool) -> bool:
        """Whether the loop did it."""
        done = list[int]()
        flusher.flush(disk, lambda: done.append(1))
        flusher.submit(waited=waited)
        if done:
            assert disk.threads[-1] is here
            return True
        loop.run_one()
        while flusher._syncing:
            pass
        assert done
        return False

    assert sync(waited=True), "nobody else is there"
    assert not sync(waited=False), "somebody came during the last sync"
    crowded = [sync(waited=True) for _ in range(CROWDED_SYNCS)]
    assert crowded[:-1] == [False] * (CROWDED_SYNCS - 1)
    assert sync(waited=True), "and nobody since"
    flusher.close()


def test_a_disk_that_gets_slow_is_left_to_the_threads_again(loop: Posted) -> None:
    disk, flusher = known_disk(loop, QUICK_SECONDS / 10)
    disk.seconds = BEARABLE_SECONDS * 100
    for _ in range(2):
        flusher.flush(disk)
        flusher.submit()
    loop.run_one()
    assert disk.threads[-2] is threading.current_thread()
    assert disk.threads[-1] is not threading.current_thread()
    flusher.close()


def test_a_failed_sync_in_the_loop_is_as_fatal(loop: Posted) -> None:
    disk, flusher = known_disk(loop, QUICK_SECONDS / 10)
    disk.failure, done = OSError("no"), list[int]()
    for number in range(2):
        flusher.flush(disk, lambda number=number: done.append(number))
        flusher.submit()
    loop.run_one()
    flusher.close()
    assert (loop.failures, done) == ([disk.failure], [])
    assert loop.posted.empty()
