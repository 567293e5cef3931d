"""Makes the topics an application needs, and refuses to start on ones that do not fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ottla.errors import KafkaError, TopologyError
from ottla.kafka.admin import Admin
from ottla.settings import KafkaSettings
from ottla.streams.errors_policy import ErrorHandlers
from ottla.streams.runtime.plan import Plan, numbered, tasks_of
from ottla.streams.runtime.stored_topology import (
    METADATA_CONFIG,
    StoredTopology,
    check_compatible,
    metadata_topic,
    read_stored,
    write_stored,
)
from ottla.streams.task import TaskId
from ottla.streams.topology.topology import Topology

log = logging.getLogger("ottla.streams")


def prepare(topology: Topology, settings: KafkaSettings, admin: Admin, handlers: ErrorHandlers) -> Plan:
    """Everything that must be there before an instance joins its group. Blocking; several instances may do it at once.

    Args:
        topology: `named`.

    Raises:
        TopologyError: The topology does not fit the topics there are, or what the application ran with before.
        BrokerUnavailable, KafkaError: The cluster does not answer, or says no.
    """
    application_id = topology.application_id
    stored = read_stored(settings, application_id)
    check_compatible(application_id, stored, topology.fingerprint)
    _outer_topics(topology, settings, admin, handlers)
    known = admin.topics(internal=True)
    counts = topology.partition_counts(known)
    _internal_topics(topology, admin, known, counts)
    partitions = {**known, **counts}
    tasks = tasks_of(topology, partitions)
    names = numbered(stored.tasks if stored else (), tasks)
    fresh = StoredTopology(topology.fingerprint, names)
    admin.ensure_topics({metadata_topic(application_id): 1}, config=METADATA_CONFIG)
    if fresh != stored:
        write_stored(settings, application_id, fresh)
    wanted = set(tasks)
    plan = Plan(topology, partitions, tuple(task if (task := TaskId.parse(name)) in wanted else None for name in names))
    _tokens_topic(plan, admin)
    return plan


def _outer_topics(topology: Topology, settings: KafkaSettings, admin: Admin, handlers: ErrorHandlers) -> None:
    """The topics that are not the application's own: sources, fixed sinks, dead letters."""
    if not settings.create_topics:
        return
    own = topology.internal_topics
    wanted = {
        topic for topic in (*topology.source_topics, *topology.global_topics) if topology.logical(topic) not in own
    }
    sinks = {
        topology.physical(topic) for sub in topology.subtopologies for topic in sub.sink_topics if topic not in own
    }
    created = admin.ensure_topics(dict.fromkeys(sorted(wanted | sinks), settings.topic_partitions))
    buried = wanted if handlers.production in ("continue", "fail") else wanted | sinks
    # A dead letter goes to the partition of the same number.
    counts = admin.partitions(sorted(buried))
    created += admin.ensure_topics({handlers.dead_letter_topic(topic): count for topic, count in counts.items()})
    if created:
        log.info("created topics %s", ", ".join(created))


def _internal_topics(topology: Topology, admin: Admin, known: Mapping[str, int], counts: Mapping[str, int]) -> None:
    faults = []
    for topic in topology.internal_topics.values():
        name = topology.physical(topic.name)
        have, want = known.get(name), counts[name]
        if have is not None and have != want:
            faults.append(f"{name} has {have} partitions and should have {want}")
    if faults:
        raise TopologyError(
            f"{topology.application_id}: partition counts have changed, and with them which task a key belongs to: "
            f"{'; '.join(faults)}. Give the source topics as many partitions as before, or begin anew: "
            f"`ottla streams reset {topology.application_id}`"
        )
    for topic in topology.internal_topics.values():
        name = topology.physical(topic.name)
        if name not in known and admin.ensure_topics({name: counts[name]}, config=dict(topic.config)):
            log.info("created topic %s with %d partitions", name, counts[name])


def _tokens_topic(plan: Plan, admin: Admin) -> None:
    name, count = plan.tokens_topic, len(plan.tasks)
    if count == 0:
        raise TopologyError(f"{plan.topology.application_id}: the topology reads no topic, so there is nothing to do")
    admin.ensure_topics({name: count})
    have = admin.topics(internal=True).get(name, 0)
    if 0 < have < count:
        try:
            admin.add_partitions(name, count)
        except KafkaError:
            # Another instance may have been first.
            if admin.topics(internal=True).get(name, 0) < count:
                raise
