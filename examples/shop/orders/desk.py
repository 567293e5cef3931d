"""Where commands are decided: each in a database transaction, with the event that tells of it in the outbox.

Whatever fails in between, there is no in between: a command that is booked is published, one that is not is not. The
outbox's relay (`service.py`) publishes what is committed, in the order in which it was accepted for each order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy.engine import Connection

from ottla import Outbox
from shop.orders.acceptance import Command, Refused
from shop.store import Store

Decide = Callable[[Connection], Command]


class Desk:
    """Decides on commands. Used from the event loop only."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._waiting: list[tuple[Decide, asyncio.Future[Command]]] = []
        self._deciding: asyncio.Task[None] | None = None

    async def carry_out(self, decide: Decide) -> Command:
        """Book a command, and its event with it; when this returns, both are there to stay.

        Commands that arrive while a transaction is under way share the next one.

        Args:
            decide: Books the command, or raises Refused with nothing written.

        Raises:
            Refused: As `decide` does.
            OttlaError: The event could not be written: the first of its kind needs the schema registry.
        """
        decided: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._waiting.append((decide, decided))
        if self._deciding is None or self._deciding.done():
            self._deciding = asyncio.create_task(self._decide_waiting())
        return await decided

    async def _decide_waiting(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            outcomes = await asyncio.to_thread(self._decide_all, [decide for decide, _ in waiting])
            for (_, decided), outcome in zip(waiting, outcomes, strict=True):
                if decided.done():  # The customer hung up. What is decided is decided.
                    continue
                if isinstance(outcome, Exception):
                    decided.set_exception(outcome)
                else:
                    decided.set_result(outcome)

    def _decide_all(self, decisions: list[Decide]) -> list[Command | Exception]:
        try:
            with self._store.transaction() as tx:
                return [self._outcome(decide, tx) for decide in decisions]
        except Exception as error:  # Whatever it is, it belongs to the customer whose command it was.
            if len(decisions) == 1:
                return [error]
            # One of them broke the transaction for all: each by itself, then.
            return [outcome for decide in decisions for outcome in self._decide_all([decide])]

    def _outcome(self, decide: Decide, tx: Connection) -> Command | Exception:
        try:
            command = decide(tx)
        except Refused as refusal:
            return refusal
        if command.is_new:
            order_id = command.event.order_id
            self._outbox.add(tx, command.event, event_id=command.event_id, correlation_id=order_id)
        return command
