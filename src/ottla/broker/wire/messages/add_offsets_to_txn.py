"""AddOffsetsToTxn."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

ADD_OFFSETS_TO_TXN = Api(
    key=25,
    name="AddOffsetsToTxn",
    versions=(0, 4),
    flexible=3,
    request="""
transactional_id string
producer_id int64
producer_epoch int16
group_id string
""",
    response="""
throttle_time_ms int32
error_code int16
""",
)
