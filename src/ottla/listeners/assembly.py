"""Puts the listeners of one app together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from ottla.events import EventType, new_event_id
from ottla.kafka.producer import Producer, SendTracer
from ottla.kafka.transactions import TransactionalProducer
from ottla.listeners.acknowledgement import SyncCommits
from ottla.listeners.agreement import RetryPlan, exact_topics
from ottla.listeners.burial import DeadLetters
from ottla.listeners.control import Control
from ottla.listeners.declaration import Listener
from ottla.listeners.dispatch import Dispatcher
from ottla.listeners.exactly_once import ExactlyOnce
from ottla.listeners.hooks import Companion, Conditions, Observer
from ottla.listeners.outputs import Outputs
from ottla.listeners.parking import Parking
from ottla.listeners.publishing import Publishing
from ottla.listeners.record import RecordProcessor
from ottla.listeners.runner import ListenerRunner
from ottla.listeners.transaction import OpenTransaction
from ottla.serde.deserializer import Deserializer
from ottla.settings import Settings


def make_runner(
    *,
    service: str,
    settings: Settings,
    listeners: list[Listener],
    events: Iterable[EventType],
    deserializer: Deserializer,
    outputs: Outputs,
    producer: Producer,
    observer: Observer,
    conditions: Conditions,
    log: logging.Logger,
    control: Control | None = None,
    companion: Companion | None = None,
) -> ListenerRunner:
    """The runner of an app's listeners, to be started on the event loop that runs now.

    Raises:
        ConfigurationError: The handlers contradict each other.
    """
    loop = asyncio.get_running_loop()
    group = settings.kafka.named(service)
    plan = RetryPlan(listeners)
    dead_letters = DeadLetters(
        service=service,
        group=group,
        producer=producer,
        observer=observer,
        conditions=conditions,
        loop=loop,
        homes=plan.levels,
    )
    commits = SyncCommits(conditions)
    dispatcher = Dispatcher(listeners, events, deserializer)

    def way(transaction: OpenTransaction | None) -> RecordProcessor:
        publishing = Publishing(
            outputs=outputs,
            producer=producer,
            dead_letters=dead_letters,
            observer=observer,
            conditions=conditions,
            loop=loop,
            log=log,
            transaction=transaction,
        )
        parking = Parking(
            plan, group=group, copies=dead_letters.copies, observer=observer, log=log, transaction=transaction
        )
        return RecordProcessor(
            service=service,
            dispatcher=dispatcher,
            publishing=publishing,
            dead_letters=dead_letters,
            observer=observer,
            conditions=conditions,
            transaction=transaction,
            parking=parking if plan.levels else None,
            commits=commits,
            companion=companion,
        )

    exactly_once = None
    if exact_topics(listeners):
        exactly_once = _exactly_once(service, settings, observer, conditions, log, producer.tracer)
    return ListenerRunner(
        service=service,
        settings=settings,
        listeners=listeners,
        processor=way(None),
        producer=producer,
        observer=observer,
        conditions=conditions,
        exactly_once=exactly_once,
        transactional=way(exactly_once.transaction) if exactly_once else None,
        retries=plan,
        control=control,
        commits=commits,
        companion=companion,
    )


def _exactly_once(
    service: str,
    settings: Settings,
    observer: Observer,
    conditions: Conditions,
    log: logging.Logger,
    tracer: SendTracer | None,
) -> ExactlyOnce:
    limits = settings.listener
    # Each member has an id of its own: members that were replaced are fenced by the group's generation (KIP-447).
    transactional_id = f"{service}-{new_event_id()}"

    def open_producer() -> TransactionalProducer:
        opened = TransactionalProducer(
            settings.kafka,
            transactional_id,
            transaction_timeout_s=limits.transaction_timeout_s,
            client_id=service,
        )
        opened.tracer = tracer
        return opened

    return ExactlyOnce(
        OpenTransaction(open_producer, observer),
        conditions=conditions,
        log=log,
        interval_s=limits.transaction_interval_s,
        records_max=limits.transaction_records_max,
        drain_s=limits.drain_timeout_s,
    )
