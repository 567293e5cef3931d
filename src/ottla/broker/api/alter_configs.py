"""AlterConfigs (33), versions 0 to 2: replaces all settings of a topic. Superseded by IncrementalAlterConfigs.

Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST (the broker's own settings are fixed at its start).
"""

from __future__ import annotations

from ottla.broker import topic_configs
from ottla.broker.api.altering import Refusal, alter_topics
from ottla.broker.broker import Broker
from ottla.broker.catalog import Topic
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.alter_configs import ALTER_CONFIGS
from ottla.broker.wire.schema import Message

API = ALTER_CONFIGS


def handle(broker: Broker, call: Call) -> None:
    alter_topics(broker, call, _replaced)


def _replaced(_: Topic, wanted: Message) -> dict[str, str]:
    given = [(config["name"], config["value"]) for config in wanted["configs"]]
    fault = topic_configs.faults(given)
    if fault:
        raise Refusal(ErrorCode.INVALID_CONFIG, fault)
    return {key: value for key, value in given if value is not None}
