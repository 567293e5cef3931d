"""Aggregates by themselves: what they decide and what their events make of them, without a broker."""

from __future__ import annotations

from ottla.testing import given
from tests.eventsourcing.accounts import Account, accounts

of = accounts()


def test_events_follow_from_a_command() -> None:
    given(of.aggregate).when(of.Open("a", "ann")).then(of.Opened("a", "ann")).then_state(Account("ann"))


def test_a_decision_may_give_several_events_one_or_none() -> None:
    opened = of.Opened("a", "ann")
    given(of.aggregate, opened).when(of.Move("a", [1, 2])).then(of.Paid("a", 1), of.Paid("a", 2))
    given(of.aggregate, opened).when(of.Move("a", [])).then().then_state(Account("ann"))
    given(of.aggregate, opened).when(of.Close("a")).then(of.Closed("a")).then_state(None)
