"""`python -m ottla.registry.server`: runs a schema registry."""

from __future__ import annotations

import argparse
import sys

from ...errors import OttlaError
from . import RegistryConfig, serve


def main() -> int:
    """Runs the registry the arguments describe; 1 if it could not start."""
    default = RegistryConfig()
    parser = argparse.ArgumentParser(prog="python -m ottla.registry.server", description="A schema registry.")
    parser.add_argument("--host", default=default.host)
    parser.add_argument("--port", type=int, default=default.port, help="0 picks a free one (default: %(default)s)")
    parser.add_argument("-b", "--bootstrap-servers", default=default.bootstrap_servers, help="default: %(default)s")
    parser.add_argument("--topic", default=default.topic, help="where the schemas are kept (default: %(default)s)")
    parser.add_argument("--advertised-url", help="where other registries on the same topic reach this one")
    parser.add_argument("--read-only", action="store_true", help="refuse every change")
    parser.add_argument("--accounts", help="a TOML file with users and tokens")
    parser.add_argument("--tls-certificate", help="a PEM file")
    parser.add_argument("--tls-key", help="a PEM file")
    parser.add_argument("--tls-clients", help="a PEM file: ask for client certificates signed by these")
    parser.add_argument("--tls-authorities", help="a PEM file: trust these in other registries")
    given = parser.parse_args()
    try:
        serve(RegistryConfig(**vars(given)))
    except OttlaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
