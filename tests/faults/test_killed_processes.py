"""kill -9 in mid-flow: the process is started again, and at the end the books balance."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.testing import Broker
from tests.demo.orders_file import write_orders
from tests.demo.running import RunningDemo

INVOICES = 200
# Fast enough to have orders everywhere at the moment of the kill, slow enough that many are yet to come.
FLOW = ("--exit", "--rate", "60/s", "--limit", str(INVOICES))
MID_FLOW_ORDERS = 25

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def orders_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_orders(tmp_path_factory.mktemp("orders") / "orders.csv", copies=2))


def reach_mid_flow(demo: RunningDemo) -> None:
    demo.wait_until(lambda: demo.ended() >= MID_FLOW_ORDERS, f"{MID_FLOW_ORDERS} orders had reached their end")


def expect_balanced_books(demo: RunningDemo, **restarts: int) -> None:
    status, summary = demo.finish()
    assert summary["balanced"], summary["books"]["discrepancies"]
    assert status == 0
    assert summary["restarts"] == restarts
    assert summary["invoices"]["read"] == INVOICES
    assert summary["orders"]["outcomes"]["in_flight"] == 0
    assert summary["orders"]["outcomes"]["dead_lettered"] == 0


@pytest.mark.parametrize("name", ["orders", "inventory", "payments", "shipping", "notifications"])
def test_a_service_may_be_killed_in_mid_flow(name: str, orders_file: str, tmp_path: Path) -> None:
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file) as demo:
        reach_mid_flow(demo)
        demo.child(name).kill()
        demo.wait_until(lambda: f"{name} was ended by SIGKILL; starting it again" in demo.said, "the kill was noticed")
        expect_balanced_books(demo, **{name: 1})


def test_the_embedded_broker_may_be_killed_in_mid_flow(orders_file: str, tmp_path: Path) -> None:
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file) as demo:
        reach_mid_flow(demo)
        demo.child("broker").kill()
        expect_balanced_books(demo, broker=1)


def test_the_registry_may_be_killed_in_mid_flow(orders_file: str, tmp_path: Path) -> None:
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file) as demo:
        reach_mid_flow(demo)
        demo.child("registry").kill()
        expect_balanced_books(demo, registry=1)


def test_all_services_may_be_killed_at_once(orders_file: str, tmp_path: Path) -> None:
    names = ("orders", "inventory", "payments", "shipping", "notifications")
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file) as demo:
        reach_mid_flow(demo)
        for process in [demo.child(name) for name in names]:
            process.kill()
        expect_balanced_books(demo, **dict.fromkeys(names, 1))


def test_an_existing_kafka_may_be_killed_and_restarted(own_broker: Broker, orders_file: str, tmp_path: Path) -> None:
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file, "-b", own_broker.bootstrap_servers) as demo:
        reach_mid_flow(demo)
        own_broker.kill()
        own_broker.start()
        expect_balanced_books(demo)


@pytest.mark.real_kafka
@pytest.mark.parametrize("broker_kind", ["kafka"], indirect=True)
def test_services_on_apache_kafka_may_be_killed(own_broker: Broker, orders_file: str, tmp_path: Path) -> None:
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file, "-b", own_broker.bootstrap_servers) as demo:
        reach_mid_flow(demo)
        demo.child("inventory").kill()
        demo.child("payments").kill()
        expect_balanced_books(demo, inventory=1, payments=1)


def test_what_a_killed_demo_left_behind_is_finished_by_the_next(orders_file: str, tmp_path: Path) -> None:
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file) as demo:
        reach_mid_flow(demo)
        children = demo.children()
        demo.process.kill()
        demo.process.wait()
        for child in children:
            child.wait(10)
    with RunningDemo(tmp_path, *FLOW, "--orders", orders_file) as demo:
        status, summary = demo.finish()
        assert status == 0, summary
        assert summary["balanced"]
        assert summary["invoices"]["known"] >= MID_FLOW_ORDERS
