"""The types of settings, with Kafka's checks and Kafka's sentences for what does not pass them.

Values are kept as they were given; as in Kafka, blanks around them do not count when they are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Check = Callable[[str, str], str | None]  # name, value -> the whole sentence, or None
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

# Types of a setting as DescribeConfigs answers them.
BOOLEAN, STRING, INT, LONG, DOUBLE, LIST = 1, 2, 3, 5, 6, 7

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_REPLICA = re.compile(r"[0-9]+:[0-9]+")
_THROTTLE_FORM = (
    "must be the literal '*' or a list of replicas in the following format: "
    "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
)


@dataclass(frozen=True)
class Setting:
    """A topic setting.

    Args:
        name: Kafka's.
        kind: Its type.
        default: Its default.
        check: Whether a value passes.
        doc: What it does here.
        broker_names: The broker settings that give its default, the one that counts most first.
        hours: The last of these and its default, where that is another unit (Kafka lists it so).
    """

    name: str
    kind: int
    default: str
    check: Check
    doc: str
    broker_names: tuple[str, ...] = ()
    hours: tuple[str, str] | None = None

    def fault(self, text: str) -> str | None:
        """What is wrong with a value, as a sentence; None if nothing is."""
        return self.check(self.name, text)


def _invalid(name: str, value: object, why: str) -> str:
    return f"Invalid value {value} for configuration {name}: {why}"


def whole(kind: int, low: int | None = None, high: int | None = None) -> Check:
    """A whole number of 32 or 64 bits within bounds."""
    width, word = (INT32_MAX, "INT") if kind == INT else (INT64_MAX, "LONG")

    def check(name: str, text: str) -> str | None:
        stripped = text.strip()
        value = int(stripped) if _WHOLE.fullmatch(stripped) else width + 1
        if not -width - 1 <= value <= width:
            return _invalid(name, text, f"Not a number of type {word}")
        return bounds(name, value, value, low, high)

    return check


def bounds(name: str, shown: object, value: float, low: float | None, high: float | None) -> str | None:
    if low is not None and value < low:
        return _invalid(name, shown, f"Value must be at least {low}")
    if high is not None and value > high:
        return _invalid(name, shown, f"Value must be no more than {high}")
    return None


def gzip_level(name: str, text: str) -> str | None:
    fault = whole(INT)(name, text)
    if fault or int(text) == -1 or 1 <= int(text) <= 9:
        return fault
    return _invalid(name, int(text), "Value must be between 1 and 9 or equal to -1")


def ratio(name: str, text: str) -> str | None:
    try:
        value = float(text)
    except ValueError:
        return _invalid(name, text, "Not a number of type DOUBLE")
    return bounds(name, value, value, 0, 1)


def boolean(name: str, text: str) -> str | None:
    if text.strip().lower() in ("true", "false"):
        return None
    return _invalid(name, text, "Expected value to be either true or false")


def no_remote_storage(name: str, text: str) -> str | None:
    fault = boolean(name, text)
    if fault or text.strip().lower() == "false":
        return fault
    return "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."


def one_of(*choices: str) -> Check:
    def check(name: str, text: str) -> str | None:
        value = text.strip()
        return None if value in choices else _invalid(name, value, f"String must be one of: {', '.join(choices)}")

    return check


def words(text: str) -> list[str]:
    """The words of a list."""
    return [word.strip() for word in text.strip().split(",")] if text.strip() else []


def any_of(*choices: str) -> Check:
    def check(name: str, text: str) -> str | None:
        given = words(text)
        if "" in given:
            return f"Configuration '{name}' values must not be empty."
        for word in given:
            if word not in choices:
                return _invalid(name, word, f"String must be one of: {', '.join(choices)}")
        return None

    return check


def replicas(name: str, text: str) -> str | None:
    given = [word for word in words(text) if word]
    if given == ["*"] or all(_REPLICA.fullmatch(word) for word in given):
        return None
    return _invalid(name, f"[{', '.join(given)}]", f"{name} {_THROTTLE_FORM}")
