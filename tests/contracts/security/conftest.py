"""One secured broker of each kind, shared by all tests of security."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from ottla.errors import ServerFailed
from ottla.testing.plugin import show_log_on_failure
from tests.broker.running import Client
from tests.conftest import IN_CI
from tests.contracts.clients import wait_until
from tests.contracts.security.certificates import Authority
from tests.contracts.security.requests import connect_as, end_offset
from tests.contracts.security.secured import World
from tests.contracts.security.tokens import Issuer
from tests.contracts.security.users import make_scram_users, warm_up


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="session")
def _secured_world(
    request: pytest.FixtureRequest,
    broker_kind: str,
    authority: Authority,
    issuer: Issuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    try:
        world = World(broker_kind, tmp_path_factory.mktemp(f"secured-{broker_kind}"), authority, issuer)
    except ServerFailed as missing:
        if IN_CI:
            pytest.fail(f"CI=true, and so this is not optional: {missing}", pytrace=False)
        pytest.skip(str(missing))
    with world.broker:
        show_log_on_failure(request.config, world.broker)
        make_scram_users(world)
        warm_up(world)
        yield world


@pytest.fixture
def world(request: pytest.FixtureRequest, _secured_world: World) -> World:
    """The secured broker of each kind. Tests share it: use topics, groups and ACLs of your own."""
    version = f" {_secured_world.broker.version}" if hasattr(_secured_world.broker, "version") else ""
    request.node.user_properties.append(("server used", f"{_secured_world.broker.name}{version}"))
    return _secured_world


@pytest.fixture
def user() -> str:
    """A SCRAM user's name that no other test uses; `make_user` makes it one."""
    return f"u-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def client(world: World, user: str) -> Iterator[Client]:
    """Somebody who is known, and may do nothing."""
    connected = connect_as(world, user)
    yield connected
    connected.close()


@pytest.fixture
def topic(world: World, topic_name: str) -> str:
    """A topic that is there."""
    client = world.connect()
    wanted = {"name": topic_name, "num_partitions": 1, "replication_factor": 1}
    assert client.ask("CreateTopics", 4, topics=[wanted])["topics"][0]["error_code"] == 0
    wait_until(lambda: end_offset(client, topic_name)["error_code"] == 0, what="the partition is served")
    client.close()
    return topic_name
