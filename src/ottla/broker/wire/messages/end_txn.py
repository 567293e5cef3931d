"""EndTxn."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

END_TXN = Api(
    key=26,
    name="EndTxn",
    versions=(0, 5),
    flexible=3,
    request="""
transactional_id string
producer_id int64
producer_epoch int16
committed bool
""",
    response="""
throttle_time_ms int32
error_code int16
producer_id int64 5+ =-1
producer_epoch int16 5+ =-1
""",
)
