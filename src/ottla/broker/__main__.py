"""`python -m ottla.broker`: the embedded broker as a process of its own."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from ottla.broker.config import BrokerConfig
from ottla.broker.server import serve
from ottla.errors import OttlaError


def main(arguments: list[str] | None = None) -> int:
    """Runs a broker; gives the exit status."""
    defaults = BrokerConfig()
    parser = argparse.ArgumentParser(prog="python -m ottla.broker", description="An embedded, Kafka-compatible broker.")
    parser.add_argument("--data", type=Path, help="data folder; without it a temporary one, removed at exit")
    parser.add_argument("--host", default=defaults.host, help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=defaults.port, help="0 picks a free port (default %(default)s)")
    parser.add_argument(
        "--flush",
        choices=("ack", "interval", "none"),
        default=defaults.flush,
        help="when records are forced to disk: before an acknowledgement, periodically, never (default %(default)s)",
    )
    parser.add_argument("--flush-interval-ms", type=int, default=defaults.flush_interval_ms)
    parser.add_argument("--no-auto-create-topics", action="store_true", help="unknown topics are errors")
    parser.add_argument(
        "--partitions", type=int, default=defaults.partitions, help="of a topic created without a number (default 1)"
    )
    parser.add_argument(
        "--group-initial-rebalance-delay-ms", type=int, default=defaults.group_initial_rebalance_delay_ms
    )
    parser.add_argument("--group-min-session-timeout-ms", type=int, default=defaults.group_min_session_timeout_ms)
    parser.add_argument("--log-level", default="WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    given = parser.parse_args(arguments)
    logging.basicConfig(level=given.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(
            BrokerConfig(
                data_dir=given.data,
                host=given.host,
                port=given.port,
                flush=given.flush,
                flush_interval_ms=given.flush_interval_ms,
                auto_create_topics=not given.no_auto_create_topics,
                partitions=given.partitions,
                group_initial_rebalance_delay_ms=given.group_initial_rebalance_delay_ms,
                group_min_session_timeout_ms=given.group_min_session_timeout_ms,
            )
        )
    except OttlaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
