"""The way from the table `commands` to Kafka: every accepted command is published, whatever fails in between.

A command is booked, then published, then noted as acknowledged. Where that chain breaks (Kafka away, the service
killed), the row is still unacknowledged; it is found at the next start and then every few seconds, and published
again under the same event id, which everybody who has seen it already knows to ignore.

The notes of acknowledgement are written several at a time. Losing some to a crash only means publishing those again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy.engine import Connection

from ottla import App, OttlaError
from shop.orders import acceptance, tables
from shop.orders.acceptance import Command
from shop.store import Store

log = logging.getLogger(__name__)

_NOTE_EVERY_S = 0.2
_SEARCH_EVERY_S = 2.0
# A younger command is most likely still on its way in a request (perhaps of another process); repeating it would only
# be noise.
_OVERDUE_S = 10.0
_BATCH = 500

T = TypeVar("T")
Decide = Callable[[Connection], Command]


class NotAcknowledged(Exception):
    """The command is booked, but Kafka did not confirm its event in time. It will be published."""


class Outbox:
    """Books commands and publishes their events. Used from the event loop only."""

    def __init__(self, app: App, store: Store, *, patience_s: float = 10.0) -> None:
        """
        Args:
            patience_s: How long `carry_out` waits for Kafka.
        """
        self._app = app
        self._store = store
        self._patience_s = patience_s
        self._waiting: list[tuple[Decide, asyncio.Future[Command]]] = []
        self._booking: asyncio.Task[None] | None = None
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._acknowledged: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None
        app.on_start(self.start)
        app.on_stop(self.stop)

    async def start(self) -> None:
        """Publish what an earlier life left behind, and keep looking."""
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop looking, and write the last notes."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        await self._note_acknowledged()

    async def carry_out(self, decide: Decide) -> Command:
        """Book a command in a transaction and publish its event; a command that was published already is not repeated.

        Args:
            decide: Books the command, or raises Refused with nothing written.

        Raises:
            Refused: As `decide` does.
            NotAcknowledged: It is booked, but Kafka has not confirmed it yet.
        """
        command = await self._book(decide)
        try:
            async with asyncio.timeout(self._patience_s):
                await self._publish(command)
        except (TimeoutError, OttlaError) as error:
            raise NotAcknowledged(
                "The order is written down, but Kafka has not confirmed it yet. It will be sent on as soon as Kafka "
                "answers; repeating the request is safe and does not order twice."
            ) from error
        return command

    async def _book(self, decide: Decide) -> Command:
        """Commands that arrive while a transaction is under way share the next one."""
        booked: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._waiting.append((decide, booked))
        if self._booking is None or self._booking.done():
            self._booking = asyncio.create_task(self._book_waiting())
        return await booked

    async def _book_waiting(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            outcomes = await asyncio.to_thread(self._decide_all, [decide for decide, _ in waiting])
            for (_, booked), outcome in zip(waiting, outcomes, strict=True):
                if booked.done():  # The customer hung up. The command stays booked and is published as overdue.
                    continue
                if isinstance(outcome, Exception):
                    booked.set_exception(outcome)
                else:
                    booked.set_result(outcome)

    def _decide_all(self, decisions: list[Decide]) -> list[Command | Exception]:
        def decide_all(tx: Connection) -> list[Command | Exception]:
            return [_outcome(decide, tx) for decide in decisions]

        try:
            return self._in_transaction(decide_all)
        except Exception as error:  # Whatever it is, it belongs to the customer whose command it was.
            if len(decisions) == 1:
                return [error]
            # One of them broke the transaction for all: each by itself, then.
            return [outcome for decide in decisions for outcome in self._decide_all([decide])]

    def _in_transaction(self, decide: Callable[[Connection], T]) -> T:
        with self._store.transaction() as tx:
            return decide(tx)

    async def _publish(self, command: Command) -> None:
        if command.acknowledged or command.command_id in self._acknowledged:
            return
        flight = self._in_flight.get(command.command_id)
        if flight is None:
            flight = asyncio.create_task(self._send(command))
            self._in_flight[command.command_id] = flight
            flight.add_done_callback(lambda done: self._landed(command.command_id, done))
        # Shielded: a customer who hangs up, or patience that runs out, must not stop an event on its way.
        await asyncio.shield(flight)

    async def _send(self, command: Command) -> None:
        if command.after is not None:
            await self._publish(command.after)
        await self._app.publish(command.event, event_id=command.event_id, correlation_id=command.event.order_id)

    def _landed(self, command_id: str, flight: asyncio.Task[None]) -> None:
        del self._in_flight[command_id]
        if flight.cancelled():
            return
        error = flight.exception()
        if error is None:
            self._acknowledged.add(command_id)
        else:
            log.warning("event of command %s was not acknowledged and will be published again: %s", command_id, error)

    async def _keep(self) -> None:
        overdue_s = 0.0
        next_search = 0.0
        while True:
            try:
                await self._note_acknowledged()
                if time.monotonic() >= next_search:
                    await self._publish_overdue(overdue_s)
                    overdue_s = _OVERDUE_S
                    next_search = time.monotonic() + _SEARCH_EVERY_S
            except OttlaError as error:
                log.warning("overdue commands were not acknowledged and will be published again: %s", error)
                next_search = time.monotonic() + _SEARCH_EVERY_S
            except Exception:
                # Whatever it is, ending here would leave commands unpublished and nobody the wiser.
                log.exception("looking for overdue commands failed and will be tried again")
                next_search = time.monotonic() + _SEARCH_EVERY_S
            await asyncio.sleep(_NOTE_EVERY_S)

    async def _note_acknowledged(self) -> None:
        noted = list(self._acknowledged)
        if noted:
            await asyncio.to_thread(self._in_transaction, lambda tx: tables.acknowledge(tx, noted))
            self._acknowledged.difference_update(noted)

    async def _publish_overdue(self, overdue_s: float) -> None:
        while commands := await asyncio.to_thread(self._overdue, overdue_s):
            fresh = [command for command in commands if command.command_id not in self._acknowledged]
            if fresh:
                log.info("publishing %d accepted commands that were not acknowledged", len(fresh))
            # All at once: they are keyed by order, and a cancellation waits for its order in `_send`.
            await asyncio.gather(*(self._publish(command) for command in fresh))
            await self._note_acknowledged()

    def _overdue(self, overdue_s: float) -> list[Command]:
        with self._store.reading() as connection:
            rows = tables.unacknowledged(connection, datetime.now(UTC) - timedelta(seconds=overdue_s), _BATCH)
            return [acceptance.restored(connection, row) for row in rows]


def _outcome(decide: Decide, tx: Connection) -> Command | Exception:
    try:
        return decide(tx)
    except acceptance.Refused as refusal:
        return refusal
