"""What goes into the topologies: records in order, out of order and late, without keys, without values."""

from __future__ import annotations

import os
import random

Input = tuple[str, str | None, str | None, int]
"""Topic, key, value, timestamp."""

SEEDS = tuple(range(1, 1 + int(os.environ.get("OTTLA_STREAMS_SEEDS", "2"))))
RECORDS = 60


def inputs(name: str, seed: int) -> list[Input]:
    """The inputs of a topology: the same for a name and a seed, everywhere."""
    chance = random.Random(f"{name} {seed}")
    is_foreign = "join_by" in name
    keys = ["a", "b", "-"] if is_foreign else ["a", "b"]
    spread = chance.choice([3, 8, 25])
    topics = ["left"] if "join" not in name and "cogroup" not in name and name != "merge" else ["left", "right"]
    found: list[Input] = []
    now = chance.choice([0, 0, 5, 1000])
    for number in range(RECORDS):
        now += chance.choice([0, 0, 1, 1, 2, 3, 7]) if chance.random() < 0.9 else chance.randrange(40)
        # Out of order by a little, sometimes by more than any grace.
        stamp = max(0, now - (chance.randrange(spread) if chance.random() < 0.4 else 0))
        if chance.random() < 0.05:
            stamp = max(0, stamp - 60)
        topic = chance.choice(topics)
        key = None if chance.random() < 0.04 and name not in NO_NULL_KEYS else chance.choice(keys)
        value = f"{chance.choice(keys)}{number}"
        if chance.random() < 0.05 and not is_foreign:
            value = chance.choice(["a", "b"])
        found.append((topic, key, None if chance.random() < 0.12 and name not in NO_NULLS else value, stamp))
    return found


# A windowed aggregation gives records without a value to the user's function, here as there: theirs and ours would
# fail on text and None in different ways.
NO_NULLS = {
    name
    for kind in ("tumbling", "hopping", "session", "cogroup_tumbling")
    for name in (f"{kind}_reduce", f"{kind}_on_close", f"{kind}_aggregate", kind)
}
NO_NULL_KEYS: set[str] = set()
