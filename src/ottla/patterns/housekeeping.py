"""What a table needs besides its use: that it is there, and that what is old is removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from sqlalchemy import Engine

from ottla.listeners.hooks import Conditions
from ottla.patterns.database import Database, Worker
from ottla.patterns.part import Surroundings

AGAIN_S = 1.0

Chore = Callable[[Engine], None]


class Housekeeping:
    """Makes a table when the app starts, which waits for it, and does a chore at the start and every `every_s`.

    Args:
        what: The table, in words.
        database: Where it is.
        create: Makes it where it is missing; None leaves that to migrations.
        chore: Called on a thread. What it raises is logged, and it is tried again the next time.
        every_s: Seconds between two chores.
    """

    def __init__(
        self,
        what: str,
        database: Database,
        *,
        create: Chore | None = None,
        chore: Chore | None = None,
        every_s: float = 3600.0,
    ) -> None:
        self._what = what
        self._worker = Worker(database)
        self._create = create
        self._chore = chore
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self, app: Surroundings) -> None:
        if self._create is not None:
            await self._made(self._create, app.conditions, app.log)
        if self._chore is not None:
            self._task = asyncio.create_task(self._keep(self._chore, app.log), name=f"{self._what} housekeeping")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._worker.close()

    async def _made(self, create: Chore, conditions: Conditions, log: logging.Logger) -> None:
        condition = f"{self._what} table"
        while True:
            try:
                await asyncio.to_thread(lambda: create(self._worker.engine))
            except Exception as error:  # the database is away, or another service makes it at this very moment
                log.debug("%s: %s", condition, error, exc_info=error)
                conditions.raise_condition(condition, f"the {self._what}'s table cannot be made: {error}")
                await asyncio.sleep(AGAIN_S)
            else:
                conditions.clear_condition(condition)
                return

    async def _keep(self, chore: Chore, log: logging.Logger) -> None:
        while True:
            try:
                await asyncio.to_thread(lambda: chore(self._worker.engine))
            except Exception as error:
                log.warning("the %s could not be cleaned up, again in %g s: %s", self._what, self._every_s, error)
            await asyncio.sleep(self._every_s)
