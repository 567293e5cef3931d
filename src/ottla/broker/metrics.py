"""The broker's own counters. Plain numbers, bumped where things happen; `metrics_page` turns them into text when asked.

All but the flusher's belong to the loop's thread. Nothing here costs an allocation on the hot path.
"""

from __future__ import annotations

from bisect import bisect_left

from ottla.broker.wire.compiler import ERRORS_WRITTEN

# Upper bounds, in seconds, of the buckets of the latency histogram; one more bucket holds what took longer.
LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ApiMetrics:
    """What is counted of one API.

    Attributes:
        requests: Answered requests (with acks=0: handled).
        seconds: The sum of their times, each from the whole request read to its reply ready to be sent.
        buckets: How many took as long as each of LATENCY_BOUNDS allows, each counted once.
        errors: How often each error code other than NONE was answered, for the request or a part of it.
    """

    __slots__ = ("buckets", "errors", "requests", "seconds")

    def __init__(self) -> None:
        self.requests = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(LATENCY_BOUNDS) + 1)
        self.errors: dict[int, int] = {}


class _ByApi(dict[int, ApiMetrics]):
    def __missing__(self, key: int) -> ApiMetrics:
        made = self[key] = ApiMetrics()
        return made


class Metrics:
    """The counters of one broker; each only grows.

    Attributes:
        apis: By API key.
        refused_requests: Requests that were cut off: malformed, too large, of an unknown API or version.
        failed_requests: Requests whose handler failed with an exception.
        failed_authentications: Failed TLS handshakes, and clients that could not show who they are.
        bytes_in, bytes_out: Of client connections, as the sockets carried them.
        connections_accepted, connections_refused: Refused for being too many.
        records_produced, bytes_produced: Accepted by Produce; duplicates are not counted again.
        bytes_fetched: Record batches answered by Fetch.
        retention_segments, retention_bytes: Removed by retention.
        compactions, compaction_seconds, compaction_bytes_freed: Runs of the cleaner over one partition.
    """

    __slots__ = (
        "apis",
        "bytes_fetched",
        "bytes_in",
        "bytes_out",
        "bytes_produced",
        "compaction_bytes_freed",
        "compaction_seconds",
        "compactions",
        "connections_accepted",
        "connections_refused",
        "failed_authentications",
        "failed_requests",
        "records_produced",
        "refused_requests",
        "retention_bytes",
        "retention_segments",
    )

    def __init__(self) -> None:
        self.apis: dict[int, ApiMetrics] = _ByApi()
        self.refused_requests = 0
        self.failed_requests = 0
        self.failed_authentications = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.connections_accepted = 0
        self.connections_refused = 0
        self.records_produced = 0
        self.bytes_produced = 0
        self.bytes_fetched = 0
        self.retention_segments = 0
        self.retention_bytes = 0
        self.compactions = 0
        self.compaction_seconds = 0.0
        self.compaction_bytes_freed = 0

    def answered(self, key: int, seconds: float) -> None:
        """Counts a request of the API `key`, and the errors that its reply, just written, holds."""
        api = self.apis[key]
        api.requests += 1
        api.seconds += seconds
        api.buckets[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        if ERRORS_WRITTEN:
            for code in ERRORS_WRITTEN:
                api.errors[code] = api.errors.get(code, 0) + 1
            ERRORS_WRITTEN.clear()
