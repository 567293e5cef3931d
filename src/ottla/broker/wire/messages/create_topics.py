"""CreateTopics."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

CREATE_TOPICS = Api(
    key=19,
    name="CreateTopics",
    versions=(0, 7),
    flexible=5,
    request="""
topics []
    name string
    num_partitions int32
    replication_factor int16
    assignments []
        partition_index int32
        broker_ids []int32
    configs []
        name string
        value string?
timeout_ms int32 =60000
validate_only bool 1+
""",
    response="""
throttle_time_ms int32 2+
topics []
    name string
    topic_id uuid 7+
    error_code int16
    error_message string? 1+
    topic_config_error_code int16 5+ tag=0
    num_partitions int32 5+ =-1
    replication_factor int16 5+ =-1
    configs []? 5+
        name string 5+
        value string? 5+
        read_only bool 5+
        config_source int8 5+ =-1
        is_sensitive bool 5+
""",
)
