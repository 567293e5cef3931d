"""AddPartitionsToTxn."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

ADD_PARTITIONS_TO_TXN = Api(
    key=24,
    name="AddPartitionsToTxn",
    versions=(0, 5),
    flexible=3,
    request="""
transactions [] 4+
    transactional_id string 4+
    producer_id int64 4+
    producer_epoch int16 4+
    verify_only bool 4+
    topics [] 4+
        name string
        partitions []int32
transactional_id string 0-3
producer_id int64 0-3
producer_epoch int16 0-3
topics [] 0-3
    name string
    partitions []int32
""",
    response="""
throttle_time_ms int32
error_code int16 4+
results_by_transaction [] 4+
    transactional_id string 4+
    topic_results [] 4+
        name string
        results_by_partition []
            partition_index int32
            partition_error_code int16
results_by_topic [] 0-3
    name string
    results_by_partition []
        partition_index int32
        partition_error_code int16
""",
)
