"""Runs one benchmark and prints it as a table, or as one JSON object."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from bench.report import Report
from bench.streamers.job import WORKLOADS

BENCHES = {
    "broker": "the embedded broker beside Apache Kafka: throughput, latency, transactions, start, memory, restart",
    "capacity": "the embedded broker with 200 connections, and with 500 topics of 6 partitions: time, memory, latency",
    "demo": "the shop at full rate: orders per second through all services, time to the first shipped order, memory",
    "listener": "Ottla's listeners beside a bare client loop: sync, async, batches, exactly once, handlers that wait",
    "memory": "a service over thirty million records: its resident memory meanwhile, and the slope of it",
    "peers": "the same orders read by FastStream, Quix Streams, Faust, spring-kafka and Ottla, on both brokers",
    "publish": "typed events published beside a bare producer that is handed finished records",
    "recovery": "a stream application killed with -9: time until it processes again, changelog records read meanwhile",
    "serde": "Avro codecs side by side: microseconds per message, and ratios to fastavro, confluent, msgspec JSON",
    "streams": "customer totals, windows, joins beside Kafka Streams, Quix Streams and Faust, on Apache Kafka",
    "streams_driver": "stream operators without Kafka: records per second of CPU time on one core",
    "startup": "what a user waits for: import, `ottla --help`, size of a base install, the broker's first answer",
}
PARTS = ("produce", "consume", "transactions", "latency", "start", "restart")
RECORDS = {"streams": 300_000}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    names = "\n".join(f"  {name:10} {text}" for name, text in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench", epilog=f"benchmarks:\n{names}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout; everything else on stderr")
    parser.add_argument("--runs", type=int, default=3, help="runs of each measurement; the median counts (default 3)")
    parser.add_argument("--save", action="store_true", help="keep the JSON in bench/results/NAME.json")
    parser.add_argument("--orders", type=Path, help="a file in the Online Retail columns instead of the sample day")
    parser.add_argument(
        "--records",
        type=int,
        help="listener, peers: orders (default 1,000,000), memory: ten times; streams: of a round (default 300,000)",
    )
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka", help="streams: which one to run on")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, help="streams: some only; all by default")
    parser.add_argument(
        "--only", nargs="+", metavar="PART", choices=PARTS, default=PARTS, help=f"broker: of {', '.join(PARTS)}"
    )
    parser.add_argument("--restart-gb", type=float, default=1.0, help="broker: data to restart with (default 1 GB)")
    parser.add_argument("--restart-partitions", type=int, default=1000, help="broker: in so many (default 1000)")
    options = parser.parse_args()
    options.records = options.records or RECORDS.get(options.name, 1_000_000)
    report: Report = importlib.import_module(f"bench.{options.name}").run(options)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{options.name}.json").write_text(report.json() + "\n", "utf-8")
    print(report.json() if options.json else report.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
