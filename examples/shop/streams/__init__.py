"""What the shop knows while orders come in: totals, revenue, hints of fraud, how orders were settled.

Each topology is a function in a file of its own: `totals.py`, `revenue.py`, `fraud.py`, `settlements.py`. `service.py`
puts them into one stream application, `results.py` has the events they write, and `dates.py` says what time it is.
"""
