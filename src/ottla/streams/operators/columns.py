"""Declared aggregations on columns: records are put together by key first, then each key is looked at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)


def crowded(keys: Sequence[Hashable]) -> bool:
    """Whether keys come several times each, so that it pays to put their records together."""
    return 3 * len(set(keys)) <= len(keys)


def grouped(keys: Sequence[K], items: Sequence[Any]) -> dict[K, list[Any]]:
    """The items of each key, in their order; keys in the order of their first."""
    groups: dict[K, list[Any]] = defaultdict(list)
    for key, item in zip(keys, items, strict=True):
        groups[key].append(item)
    return groups


def latest(keys: Sequence[K], timestamps: Sequence[int]) -> dict[K, int]:
    """The highest timestamp of each key."""
    if sorted(timestamps) != list(timestamps):
        # A stable order of time: the last one of each key is its highest.
        order = sorted(range(len(keys)), key=timestamps.__getitem__)
        return {keys[at]: timestamps[at] for at in order}
    return dict(zip(keys, timestamps, strict=True))
