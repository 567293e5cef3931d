"""Settings of single groups (Kafka's resource type 32), kept while the broker runs and in the groups' journal.

Only the settings of consumer groups are known; those of share and streams groups are not: there are no such groups.
"""

from __future__ import annotations

from collections.abc import Mapping

from ottla.broker.config import BrokerConfig
from ottla.broker.groups.consumer.group import Limits

SESSION = "consumer.session.timeout.ms"
HEARTBEAT = "consumer.heartbeat.interval.ms"
SYNONYM_PREFIX = "group."  # what the broker's own setting of the same meaning begins with

DOCS = {
    SESSION: "The timeout to detect failures of members when using the consumer protocol.",
    HEARTBEAT: "How often members of a group that uses the consumer protocol send heartbeats.",
}


def default(config: BrokerConfig, name: str) -> int:
    """The broker's value of a group setting."""
    return config.group_consumer_session_timeout_ms if name == SESSION else config.group_consumer_heartbeat_interval_ms


def fault(config: BrokerConfig, settings: Mapping[str, str | None]) -> str | None:
    """What is wrong with a group's settings, taken together, in Kafka's words; None if nothing is."""
    values: dict[str, int] = {}
    for name in DOCS:
        values[name] = default(config, name)
    for name, text in settings.items():
        if name not in DOCS:
            return f"Unknown group config name: {name}"
        try:
            values[name] = int(text or "")
        except ValueError:
            return f"Invalid value {text} for configuration {name}: Not a number of type INT"
    bounds = {
        SESSION: (config.group_consumer_min_session_timeout_ms, config.group_consumer_max_session_timeout_ms),
        HEARTBEAT: (config.group_consumer_min_heartbeat_interval_ms, config.group_consumer_max_heartbeat_interval_ms),
    }
    for name in sorted(bounds):
        low, high = bounds[name]
        kind = "session.timeout.ms" if name == SESSION else "heartbeat.interval.ms"
        if values[name] < low:
            return f"{name} must be greater than or equal to group.consumer.min.{kind}"
        if values[name] > high:
            return f"{name} must be less than or equal to group.consumer.max.{kind}"
    if values[SESSION] <= values[HEARTBEAT]:
        return f"{SESSION} must be greater than {HEARTBEAT}"
    return None


def limits(config: BrokerConfig, settings: Mapping[str, str]) -> Limits:
    """What is in force for a group with these settings. Kafka keeps stored values within the broker's bounds."""
    session = int(settings.get(SESSION, config.group_consumer_session_timeout_ms))
    heartbeat = int(settings.get(HEARTBEAT, config.group_consumer_heartbeat_interval_ms))
    low, high = config.group_consumer_min_session_timeout_ms, config.group_consumer_max_session_timeout_ms
    slow, fast = config.group_consumer_max_heartbeat_interval_ms, config.group_consumer_min_heartbeat_interval_ms
    return Limits(
        session_timeout_ms=min(max(session, low), high),
        heartbeat_interval_ms=min(max(heartbeat, fast), slow),
        size_max=config.group_consumer_max_size,
        assignors=tuple(config.group_consumer_assignors.split(",")),
    )
