"""Looking at the shop when it matters, and not a second later."""

from __future__ import annotations

import threading
import time
from typing import cast

from shop.demo.watch import ServiceSample, Snapshot, Watch, Watcher


class SlowShop:
    """Stands in for the shop's processes: a look happens only when it is asked for."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked = threading.Condition()

    def take(self) -> Snapshot:
        with self.looked:
            self.looks += 1
            self.looked.notify_all()
        return Snapshot(time.monotonic(), (ServiceSample("orders", "", "starting"),))


def test_a_look_that_is_asked_for_is_taken_at_once_and_the_watcher_ends_when_told() -> None:
    shop = SlowShop()
    watcher = Watcher(cast(Watch, shop), interval_s=3600.0)
    watcher.start()
    watcher.look_now()
    with shop.looked:
        assert shop.looked.wait_for(lambda: shop.looks == 1, timeout=10)
    watcher.stop()
    assert not watcher.is_alive()
    assert shop.looks == 1
