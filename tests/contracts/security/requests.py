"""One request each, as short as can be."""

from __future__ import annotations

from typing import Any

from tests.broker.batches import batch
from tests.broker.running import Client
from tests.contracts.security.secured import World


def connect_as(world: World, user: str) -> Client:
    client = world.connect("SASL")
    client.ask("SaslHandshake", 1, mechanism="OAUTHBEARER")
    said = f"n,,\x01auth=Bearer {world.issuer.token(user)}\x01\x01".encode()
    answer = client.ask("SaslAuthenticate", 2, auth_bytes=said)
    assert (answer["error_code"], bytes(answer["auth_bytes"])) == (0, b"")
    return client


def produce(client: Client, topic: str) -> int:
    code: int = client.produce(topic, batch([b"v"]))["error_code"]
    return code


def fetch(client: Client, topic: str) -> int:
    code: int = client.fetch(topic, 0)["error_code"]
    return code


def end_offset(client: Client, topic: str) -> dict[str, Any]:
    wanted = [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]
    answer: dict[str, Any] = client.ask("ListOffsets", 5, replica_id=-1, topics=wanted)["topics"][0]["partitions"][0]
    return answer


def metadata(client: Client, topic: str | None = None, **more: Any) -> dict[str, Any]:
    topics = None if topic is None else [{"name": topic}]
    answer: dict[str, Any] = client.ask("Metadata", 9, topics=topics, allow_auto_topic_creation=False, **more)
    return answer


def described(client: Client, topic: str) -> int:
    code: int = metadata(client, topic)["topics"][0]["error_code"]
    return code


def topics_seen(client: Client) -> set[str]:
    return {one["name"] for one in metadata(client)["topics"]}


def create(client: Client, name: str, version: int = 5) -> dict[str, Any]:
    wanted = {"name": name, "num_partitions": 1, "replication_factor": 1}
    answer: dict[str, Any] = client.ask("CreateTopics", version, topics=[wanted])["topics"][0]
    return answer


def commit(client: Client, group: str, topic: str) -> int:
    parts = [{"partition_index": 0, "committed_offset": 0, "committed_metadata": ""}]
    body = {"generation_id_or_member_epoch": -1, "member_id": "", "topics": [{"name": topic, "partitions": parts}]}
    answer = client.ask("OffsetCommit", 8, group_id=group, **body)
    code: int = answer["topics"][0]["partitions"][0]["error_code"]
    return code


def bits(*operations: int) -> int:
    return sum(1 << operation for operation in operations)
