"""The books: does what was done (the services' databases) agree with what was said (the topics)?

Nobody's counters are believed. Every comparison is between two sets of ids, or two sums of pieces, that come from
different places; a difference is named. Where a run was cut off, what lags behind in the direction of the flow (an
event said but not yet handled, an effect whose event is not yet said) is work in flight and no fault; anything the
other way round still is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal

from ottla import event_type
from shop import events
from shop.demo.expectations import ANSWERS, HANDLES, LISTENS
from shop.demo.ledgers import Ledgers, Pieces
from shop.demo.loader import Answer
from shop.demo.said import CLASSES, Place, Said
from shop.events import OrderCancelled, OrderCreated, ShopEvent

OUTCOMES = ("shipped", "cancelled", "declined", "out_of_stock", "dead_lettered", "in_flight")
CONFLICT = "conflicts_with_known_invoice"

_NAMED_MAX = 5


@dataclass(frozen=True)
class Check:
    """One comparison: what it belongs to, two names, two amounts, and whether they agree."""

    group: str
    left_name: str
    left: int
    right_name: str
    right: int
    holds: bool


@dataclass
class Books:
    """What the audit found.

    Attributes:
        settled: Whether everything had come to rest when the books were read.
        outcomes: Orders by how they ended.
        checks: Every comparison made.
        discrepancies: Every difference, by name; empty if the books balance.
        notes: What is worth knowing and no fault.
        sources: What was read, in words.
    """

    settled: bool
    outcomes: Mapping[str, int] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    discrepancies: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: str = ""

    @property
    def balanced(self) -> bool:
        return not self.discrepancies and all(check.holds for check in self.checks)

    @property
    def compared(self) -> Sequence[str]:
        return [f"{x.left_name}: {x.left}; {x.right_name}: {x.right}" for x in self.checks]

    def groups(self) -> Mapping[str, Sequence[Check]]:
        """The comparisons by what they belong to, in their order."""
        found: dict[str, list[Check]] = {}
        for check in self.checks:
            found.setdefault(check.group, []).append(check)
        return found

    @property
    def verdict(self) -> str:
        if not self.balanced:
            return f"DO NOT BALANCE: {len(self.discrepancies)} differences."
        if not self.settled:
            return "balance, as far as the run came: nothing lost, nothing done twice; the rest is in flight."
        return "balance: nothing lost, nothing done twice."


def audit(
    said: Said,
    ledgers: Ledgers,
    *,
    invoices: Iterable[str] = (),
    answers: Mapping[int, Answer] | None = None,
    settled: bool = True,
    totals: Mapping[str, tuple[int, Decimal]] | None = None,
) -> Books:
    """Compares everything with everything.

    Args:
        said: The topics.
        ledgers: The databases.
        invoices: The invoice numbers of this run's file, read anew, in their order.
        answers: What the shop answered, by the invoice's place in the file.
        settled: Whether all must agree, or work may be in flight.
        totals: What the streams told of each customer: orders, and their sum; None where they do not run.
    """
    work = _Audit(said, ledgers, Books(settled))
    work.invoices(list(invoices), answers or {})
    work.commands()
    work.handled()
    work.answers()
    work.effects()
    work.stock()
    work.read_model()
    work.outcomes()
    if totals is not None:
        work.streams(totals)
    work.strangers()
    records = sum(map(len, said.events.values())) + said.copies + len(said.strangers)
    work.books.sources = f"5 databases with {records:,} records in {len(CLASSES)} kinds of events in the topics"
    return work.books


class _Audit:
    """The comparisons, one method each."""

    def __init__(self, said: Said, ledgers: Ledgers, books: Books) -> None:
        self.said, self.ledgers, self.books = said, ledgers, books
        self.group = ""
        self.dead_ids = {
            service: {letter.event_id for letter in letters.values() if letter.event_id}
            for service, letters in said.dead.items()
        }
        self.dead_orders = {letter.order_id for letters in said.dead.values() for letter in letters.values()}

    def compare(
        self, left_name: str, left: Set[Hashable], right_name: str, right: Set[Hashable], *, right_follows: bool = True
    ) -> None:
        """The two sets must be equal; while work is in flight, the right one (or the left) may lag behind."""
        missing, extra = left - right, right - left
        if not self.books.settled:
            if right_follows:
                missing = set()
            else:
                extra = set()
        self.check(left_name, len(left), right_name, len(right), not missing and not extra)
        if missing:
            self.complain(f"{len(missing)} of {left_name} not among {right_name}", missing)
        if extra:
            self.complain(f"{len(extra)} of {right_name} not among {left_name}", extra)

    def check(self, left_name: str, left: int, right_name: str, right: int, holds: bool) -> None:
        self.books.checks.append(Check(self.group, left_name, left, right_name, right, holds))

    def complain(self, what: str, named: Iterable[Hashable] = ()) -> None:
        names = sorted(map(str, named))
        more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
        self.books.discrepancies.append(what + (": " + ", ".join(names[:_NAMED_MAX]) + more if names else ""))

    def invoices(self, invoices: list[str], answers: Mapping[int, Answer]) -> None:
        """Every invoice of the file is either in the orders database or was rejected, and not both."""
        self.group = "invoices of the file / orders database"
        booked = self.ledgers.orders.invoices
        accepted = rejected = 0
        for place, number in enumerate(invoices):
            answer = answers.get(place)
            in_database = number.upper() in booked
            if answer is not None and answer.outcome == "rejected":
                rejected += 1
                if in_database and answer.reason != CONFLICT:
                    self.complain("an invoice was rejected, and is in the orders database", [number])
            elif in_database:
                accepted += 1
            elif answer is not None:
                self.complain("an invoice was accepted, and is not in the orders database", [number])
            elif self.books.settled:
                self.complain("an invoice of the file was neither accepted nor rejected", [number])
        holds = accepted + rejected == len(invoices) or not self.books.settled
        self.check(
            "invoices in the file", len(invoices), "in the orders database, or rejected", accepted + rejected, holds
        )

    def commands(self) -> None:
        """Every accepted order and cancellation is one event in the topic."""
        self.group = "accepted orders, cancellations / events"
        for cls, what in ((OrderCreated, "orders accepted"), (OrderCancelled, "cancellations accepted")):
            booked = self.ledgers.orders.commands.get(cls.__name__, {})
            self.compare(f"{what}, in the database", booked.keys(), f"{cls.__name__} events", self.said.of(cls).keys())

    def handled(self) -> None:
        """Each service has booked every event it handles, once; or the event is among its dead letters."""
        for service, handled in self.ledgers.handled().items():
            self.group = f"events / handled by {service}"
            for cls in HANDLES[service]:
                done = handled.of(event_type(cls).name)
                told = self.said.of(cls).keys()
                dead = self.dead_ids.get(service, set()) & told
                right_name = f"handled by {service}" + (" or dead-lettered" if dead else "")
                self.compare(f"{cls.__name__} events", told, right_name, done | dead)
            foreign = {kind for kind, _ in handled.rows.values()} - {event_type(cls).name for cls in HANDLES[service]}
            if foreign:
                self.complain(f"{service} handled events that are not for it", foreign)

    def answers(self) -> None:
        """Each answer a service has booked is exactly one event, and no event is without its answer."""
        for service, classes in ANSWERS.items():
            self.group = f"answers of {service} / events"
            handled = self.ledgers.handled()[service]
            for cls in classes:
                told = self.said.of(cls).values()
                causes = Counter(event.causation_id for event in told)
                doubled = [cause for cause, count in causes.items() if count > 1]
                if doubled:
                    self.complain(f"{service} answered one event with several {cls.__name__}", doubled)
                given = handled.answered_with(event_type(cls).name) - self.dead_ids.get(service, set())
                self.compare(
                    f"answers in the {service} database", given, f"{cls.__name__} events following", causes.keys()
                )

    def effects(self) -> None:
        """Every decision in a table is one event per order, and the other way round."""
        ledgers = self.ledgers
        self.group = "reservations / events"
        states = ledgers.inventory.reservations
        self.effect(
            "reservations", {x for x, (state, _) in states.items() if state == "reserved"}, events.InventoryReserved
        )
        self.effect(
            "orders without stock",
            {x for x, (state, _) in states.items() if state == "rejected"},
            events.InventoryRejected,
        )
        self.group = "payments / events"
        self.effect("payments authorized", ledgers.payments.authorized, events.PaymentAuthorized)
        self.effect("payments declined", ledgers.payments.declined, events.PaymentDeclined)
        self.group = "shipments / events"
        self.effect("shipments", ledgers.shipping.dispatched, events.ShipmentDispatched)
        self.group = "messages / events"
        told_of = {event.causation_id for event in self.said.of(events.NotificationSent).values()}
        self.compare("messages sent", ledgers.notifications.sent, "NotificationSent events following", told_of)

    def effect(self, name: str, orders: Set[Hashable], cls: type[ShopEvent]) -> None:
        told = Counter(event.order_id for event in self.said.of(cls).values())
        self.compare(f"{name} (orders)", orders, f"{cls.__name__} events (orders)", told.keys())
        doubled = [order_id for order_id, count in told.items() if count > 1]
        if doubled:
            self.complain(f"orders with several {cls.__name__}", doubled)

    def stock(self) -> None:
        """The shelf is the sum of its movements; pieces set aside and put back are those that the events name."""
        self.group = "pieces: shelf / stock ledger / events"
        inventory = self.ledgers.inventory
        differing = [
            f"{code} ({inventory.on_hand.get(code, 0)} on the shelf, movements sum to {inventory.moved.get(code, 0)})"
            for code in inventory.on_hand.keys() | inventory.moved.keys()
            if inventory.on_hand.get(code, 0) != inventory.moved.get(code, 0)
        ]
        shelf, movements = sum(inventory.on_hand.values()), sum(inventory.moved.values())
        self.check(
            "pieces on the shelf", shelf, "sum of the stock ledger", movements, not differing and shelf == movements
        )
        if differing:
            self.complain("articles whose stock is not the sum of its movements", differing)
        if below := [code for code, quantity in inventory.on_hand.items() if quantity < 0]:
            self.complain("articles with less than nothing on the shelf", below)
        self.pieces("set aside", inventory.taken, events.InventoryReserved)
        self.pieces("put back", inventory.put_back, events.InventoryReleased)
        held = [
            order_id
            for order_id, (state, pieces) in inventory.reservations.items()
            if state == "reserved"
            and pieces != _less(inventory.taken.get(order_id, {}), inventory.put_back.get(order_id, {}))
        ]
        if held:
            self.complain("reservations that are not what was set aside less what was put back", held)

    def pieces(self, what: str, booked: Mapping[str, Pieces], cls: type[ShopEvent]) -> None:
        told: dict[str, Counter[str]] = {}
        for event in self.said.of(cls).values():
            content = event.event
            if isinstance(content, events.InventoryReserved | events.InventoryReleased):
                of_order = told.setdefault(content.order_id, Counter())
                for line in content.lines:
                    of_order[line.stock_code] += line.quantity
        differing = {
            order_id
            for order_id in booked.keys() | told.keys()
            if booked.get(order_id, {}) != told.get(order_id, {})
            and (self.books.settled or not _within(told.get(order_id, {}), booked.get(order_id, {})))
        }
        left = sum(sum(pieces.values()) for pieces in booked.values())
        right = sum(sum(pieces.values()) for pieces in told.values())
        name = f"pieces {what}, in the stock ledger"
        self.check(name, left, f"in {cls.__name__} events", right, not differing)
        if differing:
            self.complain(f"orders whose pieces {what} differ between stock ledger and {cls.__name__}", differing)

    def read_model(self) -> None:
        """The read model follows from the events it has booked, and shows how the events say that each order stands."""
        self.group = "read model / events"
        orders = self.ledgers.orders
        self.compare("events handled by orders", orders.handled.rows.keys(), "entries of the history", orders.history)
        if not self.books.settled:
            return
        stands = self.standings()
        differing = [
            f"{order_id} ({orders.progress.get(order_id, 'missing')}, by its events {stand})"
            for order_id, stand in stands.items()
            if stand != "in_flight" and order_id not in self.dead_orders and orders.progress.get(order_id) != stand
        ]
        self.check(
            "orders by their events",
            len(stands),
            "same in the read model",
            len(stands) - len(differing),
            not differing,
        )
        if differing:
            self.complain("orders that the read model shows otherwise", differing)

    def standings(self) -> dict[str, str]:
        """How each order stands, from the set of its events alone."""
        stands = {
            order_id: "in_flight" for order_id, _ in self.ledgers.orders.commands.get("OrderCreated", {}).values()
        }
        stands |= {event.order_id: "in_flight" for event in self.said.of(OrderCreated).values()}
        for cls, stand in (
            (events.InventoryRejected, "out_of_stock"),
            (events.PaymentDeclined, "declined"),
            (events.ShipmentDispatched, "shipped"),
        ):
            stands.update((event.order_id, stand) for event in self.said.of(cls).values())
        for event in self.said.of(OrderCancelled).values():
            if isinstance(event.event, OrderCancelled) and event.event.whole:
                stands[event.order_id] = "cancelled"
        return stands

    def streams(self, totals: Mapping[str, tuple[int, Decimal]]) -> None:
        """What the streams have added up is what the orders database holds, to the cent."""
        self.group = "totals of customers / orders database"
        told = {(customer, orders, total.normalize()) for customer, (orders, total) in totals.items()}
        booked = {(who, orders, total.normalize()) for who, (orders, total) in self.ledgers.orders.totals.items()}
        self.compare("totals told by the streams", told, "customers with these totals in the orders database", booked)

    def outcomes(self) -> None:
        """Accepted orders are all somewhere, and each in one place only."""
        self.group = "accepted orders / where they are"
        counted: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        waiting = []
        for order_id, stand in self.standings().items():
            if stand == "in_flight" and order_id in self.dead_orders:
                stand = "dead_lettered"
            if stand == "in_flight":
                waiting.append(order_id)
            counted[stand] += 1
        self.books.outcomes = counted
        accepted = len(self.ledgers.orders.commands.get("OrderCreated", {}))
        ended = sum(counted.values())
        self.check("orders accepted, in the database", accepted, " + ".join(OUTCOMES), ended, accepted == ended)
        if accepted != ended:
            self.complain(f"{accepted} orders accepted, but {ended} are somewhere")
        if waiting and self.books.settled:
            self.complain("orders that never reached an end, though nothing moves any more", waiting)

    def strangers(self) -> None:
        """Records that are no event of the shop are among the dead letters of every service that listens there."""
        self.group = "records that are no events / dead letters"
        strangers = self.said.strangers
        if strangers:
            count = len(strangers)
            are = "record in the topics is no event" if count == 1 else "records in the topics are no events"
            self.books.notes.append(f"{count:,} {are} of the shop.")
        for service, topics in LISTENS.items():
            dead = self.said.dead.get(service, {})
            handles = {event_type(cls).name for cls in HANDLES[service]}
            # A service passes over what claims to be of a type that is not for it, without looking further.
            awaited: set[Place] = {
                place for place, name in strangers.items() if place[0] in topics and (name is None or name in handles)
            }
            if awaited:
                self.compare("records that are no events", awaited, f"dead letters of {service}", awaited & dead.keys())
            given_up = [letter for place, letter in dead.items() if place not in strangers]
            if given_up:
                first_line = given_up[0].reason.partition("\n")[0]
                self.books.notes.append(
                    f"{service} gave up on {len(given_up):,} event{'s' * (len(given_up) != 1)} (see the topics -dlq); "
                    f"the first: {given_up[0].event_id}: {first_line}"
                )


def _less(pieces: Pieces, taken: Pieces) -> Pieces:
    left = {code: quantity - taken.get(code, 0) for code, quantity in pieces.items()}
    return {code: quantity for code, quantity in left.items() if quantity}


def _within(part: Mapping[str, int], whole: Mapping[str, int]) -> bool:
    return all(quantity <= whole.get(code, 0) for code, quantity in part.items())
