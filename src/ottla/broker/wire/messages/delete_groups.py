"""DeleteGroups."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DELETE_GROUPS = Api(
    key=42,
    name="DeleteGroups",
    versions=(0, 2),
    flexible=2,
    request="""
groups_names []string
""",
    response="""
throttle_time_ms int32
results []
    group_id string
    error_code int16
""",
)
