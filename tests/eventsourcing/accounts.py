"""The aggregate of these tests: an account that is opened, paid into, drawn from, and closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ottla import event
from ottla.errors import Refused
from ottla.eventsourcing.aggregate import Aggregate


class Account(msgspec.Struct):
    owner: str
    balance: int = 0
    payments: list[int] = []


class TooPoor(Refused):
    """There is not enough on the account."""


class Accounts(NamedTuple):
    """An aggregate with topics of its own, and its classes."""

    aggregate: Aggregate[Any]
    Open: Any
    Pay: Any
    Draw: Any
    Move: Any
    Close: Any
    Opened: Any
    Paid: Any
    Drawn: Any
    Closed: Any


def accounts(name: str = "accounts", *, state: type = Account, **options: Any) -> Accounts:
    """The aggregate `account`, on the topics `<name>-commands` and `<name>`."""
    commands, events = f"{name}-commands", name

    @event(commands, key="account")
    class Open(msgspec.Struct):
        account: str
        owner: str = "ann"

    @event(commands, key="account")
    class Pay(msgspec.Struct):
        account: str
        amount: int

    @event(commands, key="account")
    class Draw(msgspec.Struct):
        account: str
        amount: int

    @event(commands, key="account")
    class Move(msgspec.Struct):
        """Pays amounts one after the other."""

        account: str
        amounts: list[int]

    @event(commands, key="account")
    class Close(msgspec.Struct):
        account: str

    @event(events, key="account")
    class Opened(msgspec.Struct):
        account: str
        owner: str

    @event(events, key="account")
    class Paid(msgspec.Struct):
        account: str
        amount: int

    @event(events, key="account")
    class Drawn(msgspec.Struct):
        account: str
        amount: int

    @event(events, key="account")
    class Closed(msgspec.Struct):
        account: str

    aggregate: Aggregate[Any] = Aggregate("account", state, **options)

    def opened(account: Any, happened: Any) -> Any:
        return state(owner=happened.owner)

    def paid(account: Any, happened: Any) -> Any:
        account.balance += happened.amount
        account.payments.append(happened.amount)
        return account

    def drawn(account: Any, happened: Any) -> Any:
        account.balance -= happened.amount
        return account

    def closed(account: Any, happened: Any) -> Any:
        return None

    def open_(account: Any, command: Any) -> Any:
        if account is not None:
            raise Refused(f"account {command.account} is open already")
        return Opened(command.account, command.owner)

    def pay(account: Any, command: Any) -> Any:
        if command.amount == 13:
            raise ZeroDivisionError("a defect")
        return Paid(command.account, command.amount)

    def draw(account: Any, command: Any) -> Any:
        if account.balance < command.amount:
            raise TooPoor(f"{command.amount} is more than the {account.balance} there are")
        return Drawn(command.account, command.amount)

    def move(account: Any, command: Any) -> Iterator[Any]:
        for amount in command.amounts:
            yield Paid(command.account, amount)

    def close(account: Any, command: Any) -> Any:
        return [Closed(command.account)]

    appliers: list[tuple[Any, type]] = [(opened, Opened), (paid, Paid), (drawn, Drawn), (closed, Closed)]
    deciders: list[tuple[Any, type]] = [(open_, Open), (pay, Pay), (draw, Draw), (move, Move), (close, Close)]
    for function, cls in appliers:
        function.__annotations__ = {"account": state | None if cls is Opened else state, "happened": cls}
        aggregate.applies(function)
    for function, cls in deciders:
        function.__annotations__ = {"account": state | None if cls is Open else state, "command": cls}
        aggregate.decides(function)
    return Accounts(aggregate, Open, Pay, Draw, Move, Close, Opened, Paid, Drawn, Closed)
