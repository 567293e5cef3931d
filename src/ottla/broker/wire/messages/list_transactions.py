"""ListTransactions."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

LIST_TRANSACTIONS = Api(
    key=66,
    name="ListTransactions",
    versions=(0, 2),
    flexible=0,
    request="""
state_filters []string
producer_id_filters []int64
duration_filter int64 1+ =-1
transactional_id_pattern string? 2+
""",
    response="""
throttle_time_ms int32
error_code int16
unknown_state_filters []string
transaction_states []
    transactional_id string
    producer_id int64
    transaction_state string
""",
)
