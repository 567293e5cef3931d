"""Metadata."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

METADATA = Api(
    key=3,
    name="Metadata",
    versions=(0, 13),
    flexible=9,
    request="""
topics []?
    topic_id uuid 10+
    name string?
allow_auto_topic_creation bool 4+ =true
include_cluster_authorized_operations bool 8-10
include_topic_authorized_operations bool 8+
""",
    response="""
throttle_time_ms int32 3+
brokers []
    node_id int32
    host string
    port int32
    rack string? 1+
cluster_id string? 2+
controller_id int32 1+ =-1
topics []
    error_code int16
    name string?
    topic_id uuid 10+
    is_internal bool 1+
    partitions []
        error_code int16
        partition_index int32
        leader_id int32
        leader_epoch int32 7+ =-1
        replica_nodes []int32
        isr_nodes []int32
        offline_replicas []int32 5+
    topic_authorized_operations int32 8+ =-2147483648
cluster_authorized_operations int32 8-10 =-2147483648
error_code int16 13+
""",
)
