"""What the config APIs say of groups (resource type 32): their sessions and heartbeats, if they use the new protocol.

Any name will do, also that of a group that does not exist: its settings wait for it, as in Kafka.
"""

from __future__ import annotations

from collections.abc import Iterable

from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.groups.group_configs import DOCS, SYNONYM_PREFIX, default, fault
from ottla.broker.groups.refusal import Refused
from ottla.broker.setting_types import INT
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

GROUP_RESOURCE = 32
FROM_GROUP, FROM_BROKER_FILE, FROM_DEFAULT = 8, 4, 5
SET, DELETE, APPEND, SUBTRACT = range(4)


def entries(broker: Broker, group: str, names: Iterable[str] | None, *, documented: bool) -> list[Message]:
    """A group's settings, all or those named. Raises Refused."""
    if not group:
        raise Refused(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
    settings, standard = broker.coordinator.settings.get(group, {}), BrokerConfig()
    wanted = None if names is None else set(names)
    answers: list[Message] = []
    for name, doc in DOCS.items():
        if wanted is not None and name not in wanted:
            continue
        values = [(SYNONYM_PREFIX + name, str(default(standard, name)), FROM_DEFAULT)]
        configured = str(default(broker.config, name))
        if configured != values[0][1]:
            values.insert(0, (SYNONYM_PREFIX + name, configured, FROM_BROKER_FILE))
        if name in settings:
            values.insert(0, (name, settings[name], FROM_GROUP))
        answers.append(
            {
                "name": name,
                "value": values[0][1],
                "config_source": values[0][2],
                "config_type": INT,
                "documentation": doc if documented else None,
                "synonyms": [{"name": synonym, "value": value, "source": source} for synonym, value, source in values],
            }
        )
    return answers


def alter(broker: Broker, wanted: Message, *, validate_only: bool) -> None:
    """Changes a group's settings as either of the two APIs asks for. The caller flushes the groups' journal.

    Raises:
        Refused: Nothing has changed.
    """
    group, given = wanted["resource_name"], wanted["configs"]
    if not group:
        raise Refused(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
    incremental = any("config_operation" in one for one in given)
    changed = dict(broker.coordinator.settings.get(group, {})) if incremental else {}
    for one in given:
        name, operation = one["name"], one.get("config_operation", SET)
        if operation in (APPEND, SUBTRACT) and name in DOCS:
            word = "APPEND" if operation == APPEND else "SUBTRACT"
            message = f"Can't {word} to key {name} because its type is not LIST."
            raise Refused(ErrorCode.INVALID_CONFIG, message)
        if operation == DELETE:
            changed.pop(name, None)
        else:
            changed[name] = one["value"] or ""
    wrong = fault(broker.config, changed)
    if wrong:
        raise Refused(ErrorCode.INVALID_CONFIG, wrong)
    if not validate_only:
        broker.coordinator.change_settings(group, changed)
