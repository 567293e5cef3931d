"""One file per API: what it serves, how it behaves, and its handler. `table.py` lists them."""
