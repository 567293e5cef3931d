"""Names that go on the wire: Avro's grammar and Kafka's topic names, checked where they are declared."""

from __future__ import annotations

import re

from ottla.errors import EventDefinitionError

_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


def is_avro_name(text: str) -> bool:
    """Whether a text is a name in Avro's grammar: a letter or `_`, then letters, digits and `_`, all ASCII."""
    return _AVRO_NAME.fullmatch(text) is not None


def check_avro_name(text: str, what: str) -> None:
    """Refuses a text that is no Avro name.

    Args:
        text: The candidate.
        what: What it names, for the message (`"OrderCreated: field"`).

    Raises:
        EventDefinitionError: It is no Avro name.
    """
    if not is_avro_name(text):
        raise EventDefinitionError(
            f"{what} {text!r} is not a name Avro allows: use ASCII letters, digits and _ only, and no digit first"
        )


def check_full_name(text: str, what: str) -> None:
    """Refuses a text that is no full name: Avro names joined by dots.

    Raises:
        EventDefinitionError: One of the parts is no Avro name.
    """
    for part in text.split("."):
        check_avro_name(part, what)


def check_topic(topic: object, what: str) -> None:
    """Refuses what Kafka would refuse as a topic name.

    Raises:
        EventDefinitionError: Not a string of 1 to 249 letters, digits, dots, dashes and underscores.
    """
    if not isinstance(topic, str) or topic in (".", "..") or not _TOPIC.fullmatch(topic):
        raise EventDefinitionError(
            f"{what}: {topic!r} is not a topic name: Kafka allows 1 to 249 ASCII letters, digits, '.', '_' and '-'"
        )
