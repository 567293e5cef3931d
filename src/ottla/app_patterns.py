"""What an App offers of the patterns, handed over to where each is done."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from ottla.kafka.topic_names import TopicNames
from ottla.listeners.outputs import Outputs
from ottla.observability.metrics import Metrics
from ottla.patterns.part import Part
from ottla.serde.serializer import Serializer
from ottla.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData

    from ottla.observability.outbox import OutboxSeries
    from ottla.patterns.database import Database
    from ottla.patterns.inbox import Inbox
    from ottla.patterns.outbox import Outbox
    from ottla.registry.client import RegistryClient


def make_serializer(settings: Settings, registry: RegistryClient) -> Serializer:
    """What events are written with, as the settings say."""
    return Serializer(
        registry,
        auto_register=settings.registry.auto_register,
        format=settings.serde.format,
        strategy=settings.serde.subject_strategy,
    )


class AppPatterns:
    """The part of App that stands on `ottla.patterns`. What a pattern needs is loaded when it is used."""

    name: str
    _parts: list[Part]

    if TYPE_CHECKING:  # App has them

        @property
        def settings(self) -> Settings: ...
        @property
        def metrics(self) -> Metrics: ...

    def inbox(
        self,
        database: Database,
        *,
        keep: timedelta = timedelta(days=14),
        metadata: MetaData | None = None,
        scope: str | None = None,
        table: str = "ottla_inbox",
        create: bool = True,
    ) -> Inbox:
        """An inbox whose table is made before the first record, and cleaned up every hour.

        Args:
            database: An Engine, an AsyncEngine, a URL, or a function that gives one when the app starts.
            keep: The window: ids noted longer ago are forgotten. Longer than Kafka can bring a record back.
            metadata, scope, table: As `Inbox` takes them.
            create: False leaves the table to migrations.
        """
        from ottla.patterns.housekeeping import Housekeeping
        from ottla.patterns.inbox import FORGET_ROWS, Inbox

        inbox = Inbox(metadata, scope=scope, table=table)

        def forget(engine: Engine) -> None:
            forgotten = FORGET_ROWS
            while forgotten >= FORGET_ROWS:
                with engine.begin() as connection:
                    forgotten = inbox.forget(connection, older_than=keep)

        self._parts.append(Housekeeping("inbox", database, create=inbox.create if create else None, chore=forget))
        return inbox

    def outbox(
        self,
        database: Database,
        *,
        relay: bool = True,
        metadata: MetaData | None = None,
        table: str = "ottla_outbox",
        create: bool = True,
        poll_s: float = 0.5,
        lease_s: float = 10.0,
        late_s: float = 60.0,
    ) -> Outbox:
        """An outbox, and (unless `relay=False`) a relay for it that runs within this app.

        Several instances of a service may run relays; so may an app that does nothing else:

            app = App("orders-relay")
            app.outbox("postgresql+psycopg://...")        # ottla run orders.relay:app

        Args:
            database: An Engine, an AsyncEngine, a URL, or a function that gives one when the app starts.
            metadata, table: As `Outbox` takes them.
            create: False leaves the tables to migrations.
            poll_s: Seconds between two looks where no notice comes (SQLite; PostgreSQL tells at once).
            lease_s: For so long a relay that died keeps what it was publishing from the others.
            late_s: The service is not ready while an event has been waiting for longer.
        """
        from ottla.patterns.housekeeping import Housekeeping
        from ottla.patterns.outbox import Outbox
        from ottla.patterns.relay import Relay

        outbox = Outbox(self._outbox_outputs, metadata, table=table)
        if create:
            self._parts.append(Housekeeping("outbox", database, create=outbox.create))
        if relay:
            limits = {"poll_s": poll_s, "lease_s": lease_s, "late_s": late_s}
            self._parts.append(Relay(outbox, database, self._outbox_series, **limits))
        return outbox

    @cached_property
    def _outbox_series(self) -> OutboxSeries:
        from ottla.observability.outbox import OutboxSeries

        return OutboxSeries(self.name, self.metrics.registry)

    def _outbox_outputs(self) -> Outputs:
        """Makes records without Kafka: a transaction must not wait for it. Lives as long as the process."""
        from ottla.registry.client import client_for

        settings = self.settings
        names = TopicNames(settings.kafka, logging.getLogger(f"ottla.{self.name}"))
        return Outputs(make_serializer(settings, client_for(settings.registry)), names, self.name)
