"""The embedded broker: Kafka's protocol for one machine, in Python, durable.

`serve(BrokerConfig(...))` runs one in this process; `python -m ottla.broker --data DIR --port N` in its own, which is
faster than sharing an interpreter with busy Python code.

Reading path: `wire/` (what is said), `log/` (what is kept), `groups/` (who reads what), `api/` (one file per request),
`broker` (the state behind them), `connection` and `server` (sockets), `loop` (time). Nothing of Ottla is
imported but `ottla.errors`.
"""

from ottla.broker.config import BrokerConfig
from ottla.broker.server import serve

__all__ = ["BrokerConfig", "serve"]
