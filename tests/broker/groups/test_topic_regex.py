"""Patterns of topic names: as Python's `re` where both know them, and never slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.broker.groups.consumer.topic_regex import InvalidRegex, TopicRegex

atoms = st.sampled_from(["a", "b", "-", ".", r"\.", r"\d", r"\W", "[a-c]", "[^b]", "1", "_", "^", "$", r"\b", r"\Aa?"])


def combine(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    counted = st.tuples(parts, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?"]))
    return st.one_of(
        st.lists(parts, max_size=3).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda found: f"({'|'.join(found)})"),
        counted.map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        parts.map(lambda part: f"(?i:{part})"),
    )


@settings(deadline=None)
@given(st.recursive(atoms, combine, max_leaves=6), st.text("abAB1._-", max_size=6))
def test_it_matches_what_python_matches(pattern: str, name: str) -> None:
    # Python's `$` also matches before a line's end, which no name has.
    assert TopicRegex(pattern).matches(name) == bool(re.fullmatch(pattern, name, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"\Qa.b\E-.*", "a.b-c"),
        ("[[:alpha:]_]+[[:^digit:]]", "ab_x"),
        (r"\pL+\p{Nd}", "ab1"),
        (r"(?P<kind>orders|stock)\.(?<rest>v\d)", "stock.v2"),
        ("(?i)ORDERS", "orders"),
        (r"\x61\x{62}", "ab"),
        ("[]a-]+", "a-a"),
        ("a{,2}", "a{,2}"),
    ],
)
def test_it_knows_what_re2_knows(pattern: str, name: str) -> None:
    assert TopicRegex(pattern).matches(name) == ("{,2}" not in pattern or name == "a{,2}")


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a*)*b", "(a|a)*b", "(a|aa)+b", "(.*)*b", "(a{0,30}){0,30}b"])
def test_no_pattern_holds_the_broker_up(pattern: str) -> None:
    started = time.process_time()
    assert not TopicRegex(pattern).matches("a" * 249)
    assert time.process_time() - started < 5.0


def test_a_pattern_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(InvalidRegex, match="too large"):
        TopicRegex("((a{0,100}){0,100}){0,100}")
    with pytest.raises(InvalidRegex, match="too deeply"):
        TopicRegex("(" * 1000 + ")" * 1000)
