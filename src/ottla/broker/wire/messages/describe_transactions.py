"""DescribeTransactions."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_TRANSACTIONS = Api(
    key=65,
    name="DescribeTransactions",
    versions=(0, 0),
    flexible=0,
    request="""
transactional_ids []string
""",
    response="""
throttle_time_ms int32
transaction_states []
    error_code int16
    transactional_id string
    transaction_state string
    transaction_timeout_ms int32
    transaction_start_time_ms int64
    producer_id int64
    producer_epoch int16
    topics []
        topic string
        partitions []int32
""",
)
