"""`python -m ottla.broker`: the embedded broker as a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ottla.broker.config import BrokerConfig
from ottla.broker.log_lines import configure_logging
from ottla.broker.server import serve
from ottla.errors import OttlaError


def main(arguments: list[str] | None = None) -> int:
    """Runs a broker; gives the exit status."""
    options = vars(_parser().parse_args(arguments))
    configure_logging(options.pop("log_level"), options.pop("log_format"))
    try:
        serve(_config(options.pop("config"), options))
    except OttlaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _config(path: Path | None, options: dict[str, Any]) -> BrokerConfig:
    if path is None:
        return BrokerConfig(**options)
    from ottla.broker.kafka_settings import load_config  # only who has a file pays for reading it

    return load_config(path, **options)


def _parser() -> argparse.ArgumentParser:
    """Options that are not given are absent: a configuration file then has the word, and after it BrokerConfig."""
    parser = argparse.ArgumentParser(
        prog="python -m ottla.broker",
        description="An embedded, Kafka-compatible broker.",
        argument_default=argparse.SUPPRESS,
    )
    defaults = BrokerConfig()
    add = parser.add_argument
    add("--config", type=Path, default=None, metavar="FILE", help="settings in the form of Kafka's server.properties")
    add("--data", type=Path, dest="data_dir", metavar="DIR", help="data folder (default a temporary one)")
    add("--host", help=f"address to listen on (default {defaults.host})")
    add("--allow-insecure", action="store_true", help="let other machines reach a listener that is open or unencrypted")
    add("--port", type=int, help=f"0 picks a free port (default {defaults.port})")
    add(
        "--flush",
        choices=("ack", "interval", "none"),
        help=f"force records to disk before an acknowledgement, periodically, or never (default {defaults.flush})",
    )
    add("--flush-interval-ms", type=int)
    add("--no-auto-create-topics", dest="auto_create_topics", action="store_false", help="unknown topics are errors")
    add(
        "--no-any-replication-factor",
        dest="any_replication_factor",
        action="store_false",
        help="refuse topics of more than one replica",
    )
    add("--partitions", type=int, help=f"of a topic created without a number (default {defaults.partitions})")
    add("--group-initial-rebalance-delay-ms", type=int)
    add("--group-min-session-timeout-ms", type=int)
    add("--metrics-port", type=int, help="serve health and metrics over HTTP on loopback; 0 picks a free port")
    add("--log-level", default="WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    add("--log-format", default="text", choices=("text", "json"), help="of the log on stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
