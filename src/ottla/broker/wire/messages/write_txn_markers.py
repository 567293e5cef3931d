"""WriteTxnMarkers."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

WRITE_TXN_MARKERS = Api(
    key=27,
    name="WriteTxnMarkers",
    versions=(1, 2),
    flexible=1,
    request="""
markers []
    producer_id int64
    producer_epoch int16
    transaction_result bool
    topics []
        name string
        partition_indexes []int32
    coordinator_epoch int32
    transaction_version int8 2+
""",
    response="""
markers []
    producer_id int64
    topics []
        name string
        partitions []
            partition_index int32
            error_code int16
""",
)
