"""AlterConfigs (33), versions 0 to 2: replaces all settings of a topic, or of the broker those that may change.

Superseded by IncrementalAlterConfigs. Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST (a setting
named twice or without value, one that is fixed at the broker's start).
"""

from __future__ import annotations

from ottla.broker.api.altering import Refusal, Target, alter
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.messages.alter_configs import ALTER_CONFIGS
from ottla.broker.wire.schema import Message

API = ALTER_CONFIGS


def handle(broker: Broker, call: Call) -> None:
    alter(broker, call, _replaced)


def _replaced(target: Target, wanted: Message) -> dict[str, str]:
    for config in wanted["configs"]:
        fault = target.fault(config["name"], config["value"])
        if fault:
            raise Refusal(target.code, fault)
    return {config["name"]: config["value"] for config in wanted["configs"]}
