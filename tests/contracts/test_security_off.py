"""Contract: without an authorizer everybody may do everything, and the APIs for ACLs say that there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.testing import Broker
from tests.broker.running import Client
from tests.contracts.clients import consumer, produce, read
from tests.contracts.security.acls import acl, filter_of

SECURITY_DISABLED, ILLEGAL_SASL_STATE = 54, 34


def bits(*operations: int) -> int:
    return sum(1 << operation for operation in operations)


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    opened = Client(broker.port)
    yield opened
    opened.close()


def test_the_acl_apis_say_that_there_is_no_authorizer(client: Client) -> None:
    one = acl("ann", "read", "topic", "t")
    assert client.ask("DescribeAcls", 3, **filter_of(one))["error_code"] == SECURITY_DISABLED
    assert client.ask("CreateAcls", 3, creations=[one])["results"][0]["error_code"] == SECURITY_DISABLED
    assert client.ask("DeleteAcls", 3, filters=[filter_of(one)])["filter_results"][0]["error_code"] == SECURITY_DISABLED


def test_everybody_may_do_all_that_can_be_done(broker: Broker, client: Client, topic: str, group_name: str) -> None:
    asked = {"include_topic_authorized_operations": True, "include_cluster_authorized_operations": True}
    answer = client.ask("Metadata", 9, topics=[{"name": topic}], **asked)
    assert answer["topics"][0]["topic_authorized_operations"] == bits(3, 4, 5, 6, 7, 8, 10, 11)
    assert answer["cluster_authorized_operations"] == bits(5, 7, 8, 9, 10, 11, 12)
    produce(broker, topic, [b"v"])
    with consumer(broker, group_name) as member:
        member.subscribe([topic])
        read(member, 1)
        group = client.ask("DescribeGroups", 4, groups=[group_name], include_authorized_operations=True)["groups"][0]
    assert group["authorized_operations"] == bits(3, 6, 8, 10, 11)


def test_sasl_is_out_of_place(client: Client) -> None:
    assert client.ask("SaslHandshake", 1, mechanism="PLAIN")["error_code"] == ILLEGAL_SASL_STATE
    assert client.ask("SaslAuthenticate", 2, auth_bytes=b"\0a\0b")["error_code"] == ILLEGAL_SASL_STATE
