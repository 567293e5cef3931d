"""The streams of the shop, as one application: `ottla run shop.streams.service:app`.

Exactly once, whatever crashes. `GET /state/customer-totals/key/17850` asks for a customer's [orders, total],
`GET /state/hourly-revenue/key/France` for a country's hours, on whichever instance.
"""

from __future__ import annotations

from ottla import StreamsApp
from ottla.streams import KStream, StreamsBuilder
from shop.events import OrderCreated, PaymentAuthorized, PaymentDeclined
from shop.streams.dates import by_invoice_date
from shop.streams.fraud import fraud_hints
from shop.streams.once import once_per_key
from shop.streams.revenue import hourly_revenue
from shop.streams.settlements import Payment, settlements
from shop.streams.totals import customer_totals

builder = StreamsBuilder()
placed = builder.stream(OrderCreated, name="orders")
orders = once_per_key(builder, placed, "orders-seen")
answered: KStream[str, Payment] = builder.stream(PaymentAuthorized, PaymentDeclined, name="payments")
payments = once_per_key(builder, answered, "payments-seen")

totals = customer_totals(orders)
dated = by_invoice_date(orders)
hourly_revenue(dated)
fraud_hints(dated)
settlements(orders, payments, totals)

app = StreamsApp("streams", builder, exactly_once=True)
