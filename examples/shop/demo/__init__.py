"""The demo: starts the shop, places real orders, shows their way, and checks the books at the end.

- `run.py`         from the command to the exit status; `options.py` what the user may choose
- `pipeline.py`    the processes: broker, registry, five services; `leftovers.py` do folder and topics go together
- `session.py`     one run: place, show, check, stop
- `loader.py`      places invoices over HTTP
- `watch.py`       health, metrics and `read_model.py` at one moment; `view.py` shows it
- `rest.py`        has everything come to rest, asked of Kafka's offsets (`settle.py`)
- `streamed.py`    what the shop's streams came to, if they run
- `audit.py`       the books: `said.py` (topics) against `ledgers.py` (databases), gathered by `books.py`;
                   `expectations.py` says who handles what
- `summary.py`     the end, as a table or JSON, with `memory.py` and `started.py`
"""
