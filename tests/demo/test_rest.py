"""When the demo takes its shop for finished."""

from __future__ import annotations

import time
from typing import Any

from shop.demo.rest import RestWatcher
from shop.demo.settle import Look


class Looking:
    """Finds everything at rest, and takes its time."""

    def look(self) -> Look:
        began = time.monotonic()
        while (ended := time.monotonic()) == began:
            pass
        self.ended = ended
        return Look({}, {}, True)


def test_a_look_knows_nothing_of_what_happened_after_it_began() -> None:
    quiet: Any = Looking()
    watcher = RestWatcher("127.0.0.1:1")
    watcher._look(quiet)
    assert watcher.since is not None
    assert watcher.seen_from < quiet.ended <= watcher.since
