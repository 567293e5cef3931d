"""The reference shop: five small services that sell real orders over Kafka.

Reading order: `events.py` (what is said), `orders/` (how an order comes in), then `inventory/`, `payments/`,
`shipping/` and `notifications/` (what becomes of it), and `store.py` (why handling an event twice changes nothing).

Each service is a package of three files: `service.py` (an App and its handlers), `domain.py` (the rules, free of Kafka
and SQL) and `tables.py` (its own database). Inventory has `stock.py` between the rules and the tables. Orders has its
HTTP side (`bodies.py`, `views.py`), the decisions on commands (`acceptance.py`) and their publishing (`outbox.py`).

Beside the five: `streams/`, what is added up while orders come in, and `lifecycle/`, the order as an event-sourced
aggregate.
"""
