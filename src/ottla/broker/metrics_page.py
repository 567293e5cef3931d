"""Health and metrics as pages: /health/live, /health/ready, and /metrics in Prometheus' text format (version 0.0.4).

Written by hand: the broker needs no library for it, and stays as small as it is when nobody asks. The page comes in
pieces (see http_port). Logs are summed up by topic: a line for each partition of thousands would help nobody.
"""

from __future__ import annotations

import errno
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from ottla.broker.api.list_groups import kind_of
from ottla.broker.api.table import HANDLERS
from ottla.broker.catalog import Topic
from ottla.broker.http_port import TEXT, HttpPort, Page, Pages
from ottla.broker.log.recovery import now_ms
from ottla.broker.metrics import LATENCY_BOUNDS
from ottla.broker.transactions.transaction import State
from ottla.broker.wire.errors import ErrorCode
from ottla.errors import BrokerError, PortInUse

if TYPE_CHECKING:
    from ottla.broker.server import Server

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TOPICS_PER_PIECE = 50
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Sample = tuple[str, float]  # labels as written, with their braces; value


def pages(server: Server, version: str) -> Pages:
    """All pages of a broker."""
    return {
        "/health/live": lambda: Page(200, TEXT, ["live\n"]),
        "/health/ready": lambda: _ready(server),
        "/metrics": lambda: Page(200, CONTENT_TYPE, _metrics(server, version)),
    }


def _ready(server: Server) -> Page:
    """Who gets an answer gets a yes, as the logs are read back before anything listens; unless the disk has failed."""
    if server.failed:
        return Page(503, TEXT, ["the disk failed; stopping\n"])
    return Page(200, TEXT, ["ready\n"])


def _metrics(server: Server, version: str) -> Iterator[str]:
    yield _block("info", "gauge", "What runs here.", [(_labels(version=version), 1)])
    yield from _requests(server)
    yield _traffic(server)
    yield from _logs(server)
    yield _groups(server)
    yield _transactions(server)
    yield _disk(server)
    yield _process()


def _block(name: str, kind: str, about: str, samples: Iterable[Sample], prefix: str = "ottla_broker_") -> str:
    full = prefix + name
    lines = [f"# HELP {full} {about}", f"# TYPE {full} {kind}"]
    lines += [f"{full}{labels} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    return repr(value)


def _requests(server: Server) -> Iterator[str]:
    """Requests, errors and latency by API."""
    apis = [(HANDLERS[key][0].name, counts) for key, counts in sorted(server.broker.metrics.apis.items())]
    yield _block(
        "requests_total", "counter", "Requests answered.", [(_labels(api=name), api.requests) for name, api in apis]
    )
    errors = [
        (_labels(api=name, error=_error_name(code)), count)
        for name, api in apis
        for code, count in sorted(api.errors.items())
    ]
    yield _block("errors_total", "counter", "Error codes answered, for requests or parts of them.", errors)
    full = "ottla_broker_request_seconds"
    yield (
        f"# HELP {full} From the whole request read to its reply ready; Fetch and JoinGroup wait on purpose.\n"
        f"# TYPE {full} histogram\n"
    )
    for name, api in apis:
        label = f'api="{name}"'
        bounds = [*map(repr, LATENCY_BOUNDS), "+Inf"]
        lines = [
            f'{full}_bucket{{{label},le="{bound}"}} {count}'
            for bound, count in zip(bounds, accumulate(api.buckets), strict=True)
        ]
        lines += [f"{full}_sum{{{label}}} {_number(api.seconds)}", f"{full}_count{{{label}}} {api.requests}"]
        yield "\n".join(lines) + "\n"


def _error_name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(int(code))


def _traffic(server: Server) -> str:
    """Connections, bytes and records."""
    metrics = server.broker.metrics

    def counter(name: str, about: str, value: float) -> str:
        return _block(f"{name}_total", "counter", about, [("", value)])

    return "".join(
        (
            _block("connections", "gauge", "Open connections of clients.", [("", server.open_connections)]),
            counter("connections_accepted", "Connections accepted.", metrics.connections_accepted),
            counter(
                "connections_refused", "Connections closed at once for being too many.", metrics.connections_refused
            ),
            counter("received_bytes", "Bytes read from clients.", metrics.bytes_in),
            counter("sent_bytes", "Bytes sent to clients.", metrics.bytes_out),
            counter(
                "refused_requests", "Requests that were malformed, too large or unknown.", metrics.refused_requests
            ),
            counter("failed_requests", "Requests whose handler failed: faults of the broker.", metrics.failed_requests),
            counter("produced_records", "Records accepted.", metrics.records_produced),
            counter("produced_bytes", "Bytes of the record batches accepted.", metrics.bytes_produced),
            counter("fetched_bytes", "Bytes of the record batches sent to consumers.", metrics.bytes_fetched),
        )
    )


def _logs(server: Server) -> Iterator[str]:
    """Partitions, segments, bytes and offsets by topic."""
    measured: list[tuple[str, tuple[int, ...]]] = []
    topics = list(server.broker.catalog.topics.values())
    for first in range(0, len(topics), TOPICS_PER_PIECE):
        measured += map(_measured, topics[first : first + TOPICS_PER_PIECE])
        yield ""  # a turn of the loop for the broker's clients
    about = {
        "partitions": "Partitions.",
        "log_segments": "Segment files.",
        "log_bytes": "Bytes of all segments.",
        "log_end_offsets": "The end offsets of the partitions, summed up: its rate is that of records.",
        "log_start_offsets": "The start offsets of the partitions, summed up.",
    }
    for column, (name, text) in enumerate(about.items()):
        yield _block(f"topic_{name}", "gauge", text, [(labels, numbers[column]) for labels, numbers in measured])


def _measured(topic: Topic) -> tuple[str, tuple[int, ...]]:
    logs = topic.partitions
    return _labels(topic=topic.name), (
        len(logs),
        sum(len(log.segments) for log in logs),
        sum(log.size for log in logs),
        sum(log.next_offset for log in logs),
        sum(log.start_offset for log in logs),
    )


def _groups(server: Server) -> str:
    """Consumer groups and their members, by state."""
    groups: Counter[str] = Counter()
    members: Counter[str] = Counter()
    for group in server.broker.coordinator.groups.values():
        labels = _labels(type=kind_of(group), state=group.state)
        groups[labels] += 1
        members[labels] += len(group.members)
    return _block("groups", "gauge", "Consumer groups by state.", sorted(groups.items())) + _block(
        "group_members", "gauge", "Members of consumer groups by the group's state.", sorted(members.items())
    )


def _transactions(server: Server) -> str:
    """Transactional ids by the state of their last transaction, and how long the oldest open one has been going on."""
    known = list(server.broker.transactions.register.by_id.values())
    states = Counter(_labels(state=one.state.value) for one in known)
    began = [one.started_at for one in known if one.state is State.ONGOING]
    age = (now_ms() - min(began)) / 1000 if began else 0.0
    return _block("transactions", "gauge", "Transactional ids by state.", sorted(states.items())) + _block(
        "oldest_transaction_seconds", "gauge", "The age of the oldest open transaction; 0 if none is.", [("", age)]
    )


def _disk(server: Server) -> str:
    """Syncs, retention and compaction."""
    flusher, metrics = server.broker.flusher, server.broker.metrics
    rows = (
        ("fsyncs", "Syncs of files to the disk.", flusher.syncs),
        ("fsync_seconds", "Time of all syncs; several may run at once.", flusher.sync_seconds),
        ("retention_segments", "Segments removed by retention.", metrics.retention_segments),
        ("retention_bytes", "Bytes removed by retention.", metrics.retention_bytes),
        ("compactions", "Partitions compacted.", metrics.compactions),
        ("compaction_seconds", "Time spent on compaction.", metrics.compaction_seconds),
        ("compaction_freed_bytes", "Bytes freed by compaction.", metrics.compaction_bytes_freed),
    )
    return "".join(_block(f"{name}_total", "counter", about, [("", value)]) for name, about, value in rows)


def _process() -> str:
    """What Prometheus' client libraries say of every process, under their names."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    blocks = [
        _block(
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time.",
            [("", used.ru_utime + used.ru_stime)],
            prefix="",
        )
    ]
    resident = _resident_bytes()
    if resident is not None:
        about = "Resident memory size in bytes."
        blocks.append(_block("process_resident_memory_bytes", "gauge", about, [("", resident)], prefix=""))
    blocks.append(
        _block("process_start_time_seconds", "gauge", "Start time since the epoch.", [("", STARTED)], prefix="")
    )
    return "".join(blocks)


STARTED = time.time()


def _resident_bytes() -> int | None:
    """Only Linux says how much memory is resident now; elsewhere the largest amount so far would be misleading."""
    if sys.platform != "linux":
        return None
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def serve_pages(server: Server, host: str, port: int, version: str) -> HttpPort:
    """Serves the pages of a broker in its loop; prints where, since port 0 picks a free one.

    Raises:
        PortInUse: The port is taken.
        BrokerError: The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=16)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse("the broker's metrics", host, port, "--metrics-port") from error
        raise BrokerError(f"metrics: cannot listen on {host}:{port}: {error}") from error
    shown = f"[{host}]" if ":" in host else host
    print(f"metrics on http://{shown}:{listener.getsockname()[1]}/metrics", flush=True)
    return HttpPort(server.loop, listener, pages(server, version))
