"""Recomputes every aggregate from the input. Knows nothing of how stream applications work."""

from __future__ import annotations

import struct
from collections import Counter, defaultdict

from ottla.kafka.reader import read_topic
from ottla.settings import KafkaSettings


def expected(settings: KafkaSettings, source: str) -> Counter[str]:
    """What was put in: "KEY 1" counts one for KEY."""
    found: Counter[str] = Counter()
    for record in read_topic(settings, source):
        assert record.value is not None
        key, number = record.value.decode().split()
        found[key] += int(number)
    return found


def totals(settings: KafkaSettings, sink: str) -> dict[str, list[int]]:
    """What came out: each key's totals in their order, as a reader of committed records sees them."""
    found: dict[str, list[int]] = defaultdict(list)
    for record in sorted(read_topic(settings, sink), key=lambda one: (one.partition, one.offset)):
        assert record.key is not None
        assert record.value is not None
        found[record.key.decode()].append(struct.unpack(">q", record.value)[0])
    return found


def wrong(settings: KafkaSettings, source: str, sink: str) -> list[str]:
    """Everything that is not as it should be: with ones only going in, the totals of a key are 1, 2, 3 and so on, each
    once and in order. A lost record ends them early, a doubled one goes beyond or repeats, a torn state jumps."""
    inputs, outputs = expected(settings, source), totals(settings, sink)
    faults = [f"{key} was never put in" for key in outputs if key not in inputs]
    for key, count in inputs.items():
        got = outputs.get(key, [])
        if got != list(range(1, count + 1)):
            repeated = [total for total, times in Counter(got).items() if times > 1]
            missing = sorted(set(range(1, count + 1)) - set(got))
            faults.append(
                f"{key}: {count} went in; last total {got[-1:]}, {len(repeated)} repeated {repeated[:5]}, "
                f"{len(missing)} missing {missing[:5]}, in order: {got == sorted(got)}"
            )
    return faults


def wrong_at_last(settings: KafkaSettings, source: str, sink: str) -> list[str]:
    """The same where only some totals are told: they rise, and the last one is right."""
    inputs, outputs = expected(settings, source), totals(settings, sink)
    faults = []
    for key in inputs | dict.fromkeys(outputs, 0):
        got = outputs.get(key, [])
        if got != sorted(set(got)) or got[-1:] != [inputs.get(key)]:
            beyond = bool(got) and (got != sorted(set(got)) or got[-1] > inputs.get(key, 0))
            faults.append(f"{key}: {inputs.get(key)} went in, the last totals are {got[-5:]}{' (beyond)' * beyond}")
    return faults


def lost(settings: KafkaSettings, source: str, sink: str) -> list[str]:
    """What at least once may not do: with ones only going in, a key's last total is their number, or more where work
    was done again. (A total in between may be missing: state can be known where the word of it was lost.)"""
    inputs, outputs = expected(settings, source), totals(settings, sink)
    last = {key: outputs.get(key, [0])[-1] for key in inputs}
    return [
        f"{key}: {count} went in, the last total is {last[key]}" for key, count in inputs.items() if last[key] < count
    ]
