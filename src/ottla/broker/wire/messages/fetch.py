"""Fetch."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

FETCH = Api(
    key=1,
    name="Fetch",
    versions=(4, 18),
    flexible=12,
    request="""
cluster_id string? 12+ tag=0
replica_id int32 0-14 =-1
replica_state {} 15+ tag=1
    replica_id int32 15+ =-1
    replica_epoch int64 15+ =-1
max_wait_ms int32
min_bytes int32
max_bytes int32 3+ =2147483647
isolation_level int8 4+
session_id int32 7+
session_epoch int32 7+ =-1
topics []
    topic string 0-12
    topic_id uuid 13+
    partitions []
        partition int32
        current_leader_epoch int32 9+ =-1
        fetch_offset int64
        last_fetched_epoch int32 12+ =-1
        log_start_offset int64 5+ =-1
        partition_max_bytes int32
        replica_directory_id uuid 17+ tag=0
        high_watermark int64 18+ tag=1 =9223372036854775807
forgotten_topics_data [] 7+
    topic string 7-12
    topic_id uuid 13+
    partitions []int32 7+
rack_id string 11+
""",
    response="""
throttle_time_ms int32 1+
error_code int16 7+
session_id int32 7+
responses []
    topic string 0-12
    topic_id uuid 13+
    partitions []
        partition_index int32
        error_code int16
        high_watermark int64
        last_stable_offset int64 4+ =-1
        log_start_offset int64 5+ =-1
        diverging_epoch {} 12+ tag=0
            epoch int32 12+ =-1
            end_offset int64 12+ =-1
        current_leader {} 12+ tag=1
            leader_id int32 12+ =-1
            leader_epoch int32 12+ =-1
        snapshot_id {} 12+ tag=2
            end_offset int64 =-1
            epoch int32 =-1
        aborted_transactions []? 4+
            producer_id int64 4+
            first_offset int64 4+
        preferred_read_replica int32 11+ =-1
        records records?
node_endpoints [] 16+ tag=0
    node_id int32 16+
    host string 16+
    port int32 16+
    rack string? 16+
""",
)
