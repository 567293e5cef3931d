"""Produce."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

PRODUCE = Api(
    key=0,
    name="Produce",
    versions=(3, 13),
    flexible=9,
    request="""
transactional_id string? 3+
acks int16
timeout_ms int32
topic_data []
    name string 3-12
    topic_id uuid 13+
    partition_data []
        index int32
        records records?
""",
    response="""
responses []
    name string 0-12
    topic_id uuid 13+
    partition_responses []
        index int32
        error_code int16
        base_offset int64
        log_append_time_ms int64 2+ =-1
        log_start_offset int64 5+ =-1
        record_errors [] 8+
            batch_index int32 8+
            batch_index_error_message string? 8+
        error_message string? 8+
        current_leader {} 10+ tag=0
            leader_id int32 10+ =-1
            leader_epoch int32 10+ =-1
throttle_time_ms int32 1+
node_endpoints [] 10+ tag=0
    node_id int32 10+
    host string 10+
    port int32 10+
    rack string? 10+
""",
)
