"""DescribeLogDirs."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_LOG_DIRS = Api(
    key=35,
    name="DescribeLogDirs",
    versions=(0, 4),
    flexible=2,
    request="""
topics []?
    topic string
    partitions []int32
""",
    response="""
throttle_time_ms int32
error_code int16 3+
results []
    error_code int16
    log_dir string
    topics []
        name string
        partitions []
            partition_index int32
            partition_size int64
            offset_lag int64
            is_future_key bool
    total_bytes int64 4+ =-1
    usable_bytes int64 4+ =-1
""",
)
