"""Guards: what a client must be allowed to do for each API, and how Kafka answers who is not.

One guard for each API, between the wire and the handler. A guard takes away from the request what the client may not
ask for, and puts the refusals for that into the reply; or it answers alone. So handlers know nothing of permissions, a
broker without an authorizer pays nothing for them, and an API without a guard is served to nobody where there is one.
`table.py` lists them.
"""
