"""What the config APIs share: how a topic's and the broker's settings are answered."""

from __future__ import annotations

from collections.abc import Iterable

from ottla.broker.broker_configs import (
    CLUSTER,
    FROM_BROKER_FILE,
    FROM_CLUSTER,
    FROM_DEFAULT,
    FROM_TOPIC,
    OWN,
    Level,
    broker_levels,
    doc_of,
    kind_of,
    topic_levels,
)
from ottla.broker.catalog import Catalog
from ottla.broker.config import BrokerConfig
from ottla.broker.static_settings import STATIC
from ottla.broker.topic_configs import BY_BROKER_NAME, SETTINGS, TopicConfig
from ottla.broker.wire.schema import Message


def entries(
    catalog: Catalog, config: TopicConfig, names: Iterable[str] | None = None, *, documented: bool = False
) -> list[Message]:
    """A topic's settings, all or those named."""
    wanted = set(names) if names is not None else None
    answers: list[Message] = []
    for setting in SETTINGS.values():
        if wanted is not None and setting.name not in wanted:
            continue
        levels = topic_levels(setting, config.values, catalog.static_defaults, catalog.broker_settings, catalog.node)
        source = levels[0].source if levels else FROM_DEFAULT
        answers.append(
            {
                "name": setting.name,
                "value": config.get(setting.name),
                "is_default": source != FROM_TOPIC,
                "config_source": source,
                "config_type": setting.kind,
                "documentation": setting.doc if documented else None,
                "synonyms": [level._asdict() for level in levels],
            }
        )
    return answers


def cluster_entries(catalog: Catalog, names: Iterable[str] | None = None, *, documented: bool = False) -> list[Message]:
    """What was set for all brokers while they ran."""
    wanted = set(names) if names is not None else None
    return [
        _dynamic_entry(name, [Level(name, value, FROM_CLUSTER)], documented)
        for name, value in catalog.broker_settings.get(CLUSTER, {}).items()
        if wanted is None or name in wanted
    ]


def _dynamic_entry(name: str, levels: list[Level], documented: bool) -> Message:
    return {
        "name": name,
        "value": levels[0].value if levels else None,
        "read_only": False,
        "is_default": False,
        "config_source": levels[0].source if levels else FROM_DEFAULT,
        "config_type": kind_of(name),
        "documentation": doc_of(name) if documented else None,
        "synonyms": [level._asdict() for level in levels],
    }


def broker_entries(
    catalog: Catalog, config: BrokerConfig, names: Iterable[str] | None = None, *, documented: bool = False
) -> list[Message]:
    """The broker's own settings under Kafka's names."""
    wanted = set(names) if names is not None else None
    answers: list[Message] = []
    for static in STATIC:
        if wanted is None or static.name in wanted:
            levels = [*broker_levels(static.name, catalog.broker_settings, catalog.node), *static.levels(config)]
            doc = static.doc if documented else None
            own = {"read_only": True, "config_type": static.kind, "documentation": doc}
            answers.append(_dynamic_entry(static.name, levels, documented) | own)
    return answers + _changeable_entries(catalog, wanted, documented)


def _changeable_entries(catalog: Catalog, wanted: set[str] | None, documented: bool) -> list[Message]:
    """The settings that may change while the broker runs, and all that was set of the others."""
    defaults: dict[str, list[Level]] = {}
    for name, setting in BY_BROKER_NAME.items():
        # Where hours give the default, the setting of milliseconds has none of its own.
        levels = [Level(name, setting.default, FROM_DEFAULT)] if setting.hours is None else []
        static = catalog.static_defaults.get(setting.name, setting.default)
        if static != setting.default:
            levels.insert(0, Level(name, static, FROM_BROKER_FILE))
        defaults[name] = levels
    defaults |= {name: [Level(name, own.default, FROM_DEFAULT)] for name, own in OWN.items()}
    set_names = {name for settings in catalog.broker_settings.values() for name in settings}
    answers: list[Message] = []
    for name in sorted((defaults.keys() | set_names) - {static.name for static in STATIC}):
        if wanted is None or name in wanted:
            levels = broker_levels(name, catalog.broker_settings, catalog.node)
            if levels or name in defaults:
                answers.append(_dynamic_entry(name, levels + defaults.get(name, []), documented))
    return answers
