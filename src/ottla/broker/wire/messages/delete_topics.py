"""DeleteTopics."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DELETE_TOPICS = Api(
    key=20,
    name="DeleteTopics",
    versions=(0, 6),
    flexible=4,
    request="""
topics [] 6+
    name string? 6+
    topic_id uuid 6+
topic_names []string 0-5
timeout_ms int32
""",
    response="""
throttle_time_ms int32 1+
responses []
    name string?
    topic_id uuid 6+
    error_code int16
    error_message string? 5+
""",
)
