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
    given = parser.parse_args()
    try:
        serve(RegistryConfig(**vars(given)))
    except OttlaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
