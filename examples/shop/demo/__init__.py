"""The demo: starts the shop, places real orders, shows their way, and checks the books at the end.

- `pipeline.py`  the processes: broker, registry, five services
- `loader.py`    places orders over HTTP
- `view.py`      what the terminal shows meanwhile
- `audit.py`     the books: databases and topics compared, nobody's counters believed
- `summary.py`   the end, as a table or JSON
- `run.py`       all of it together
"""
