"""One file per resource of the REST API; each has `routes(registry)`."""
