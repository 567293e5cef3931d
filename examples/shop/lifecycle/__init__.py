"""The order as an event-sourced aggregate: what it is follows from its own events and from nothing else.

`events.py` has its commands and events, `order.py` the rules, `feed.py` makes commands of what the other services say,
`service.py` answers over HTTP.
"""
