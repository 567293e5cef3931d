"""The demo as its users start it. These runs take some ten seconds each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ottla.testing import Broker
from tests.demo.conftest import FinishedDemo
from tests.demo.orders_file import ADDED_INVOICES, ADDED_ORDERS, SAMPLE_INVOICES, SAMPLE_ORDERS
from tests.demo.running import RunningDemo

INVOICES = 3 * SAMPLE_INVOICES + ADDED_INVOICES
ORDERS = 3 * SAMPLE_ORDERS + ADDED_ORDERS


def expect_all_orders_through(status: int, summary: dict[str, Any]) -> None:
    assert summary["balanced"], summary
    assert status == 0
    assert summary["invoices"]["read"] == INVOICES
    assert summary["orders"]["accepted"] == ORDERS
    outcomes = summary["orders"]["outcomes"]
    assert sum(outcomes.values()) == ORDERS
    assert outcomes["cancelled"] == 1
    assert outcomes["in_flight"] == outcomes["dead_lettered"] == 0
    assert min(outcomes["shipped"], outcomes["declined"], outcomes["out_of_stock"]) > 0


def test_more_than_300_orders_go_through_and_the_books_balance(finished_demo: FinishedDemo) -> None:
    expect_all_orders_through(finished_demo.status, finished_demo.summary)


def test_bad_orders_are_counted_by_reason(finished_demo: FinishedDemo) -> None:
    reasons = finished_demo.summary["invoices"]["rejected_by_reason"]
    assert reasons.keys() == {
        "missing_customer",
        "unknown_cancellation",
        "negative_quantity",
        "price_not_positive",
        "empty_description",
    }
    assert reasons["negative_quantity"] == reasons["price_not_positive"] == reasons["empty_description"] == 1


def test_the_summary_tells_speed_and_memory(finished_demo: FinishedDemo) -> None:
    summary = finished_demo.summary
    assert summary["throughput"]["orders"] == ORDERS
    assert summary["throughput"]["orders_per_second"] > 0
    assert summary["first_shipped_seconds"] > 0
    assert summary["memory_mb"]["processes"] == 8
    assert 0 < summary["memory_mb"]["pss"] < 600


def test_the_demo_runs_on_an_existing_kafka(own_broker: Broker, orders_file: Path, tmp_path: Path) -> None:
    with RunningDemo(
        tmp_path / "data", "--exit", "--orders", str(orders_file), "-b", own_broker.bootstrap_servers
    ) as demo:
        expect_all_orders_through(*demo.finish())
        assert not (tmp_path / "data" / "broker").exists()


@pytest.mark.parametrize("broker_kind", ["embedded"], indirect=True)
def test_a_shop_on_topics_of_another_shop_is_refused(own_broker: Broker, tmp_path: Path) -> None:
    server = ["--exit", "--limit", "5", "-b", own_broker.bootstrap_servers]
    with RunningDemo(tmp_path / "first", *server) as demo:
        assert demo.finish()[0] == 0
    with RunningDemo(tmp_path / "second", *server) as demo:
        assert demo.process.wait(30) == 1
        assert "events of an earlier shop whose databases are not in" in demo.said
        assert "order-events" in demo.said
    with RunningDemo(tmp_path / "first", *server) as demo:
        assert demo.finish()[0] == 0


def test_a_second_run_continues_on_the_same_data_and_so_do_the_streams(tmp_path: Path) -> None:
    with RunningDemo(tmp_path, "--exit", "--streams", "--limit", "40") as demo:
        status, first = demo.finish()
        assert status == 0, first
    with RunningDemo(tmp_path, "--exit", "--streams", "--limit", "60") as demo:
        status, second = demo.finish()
        assert status == 0, second
    assert any(compared.startswith("totals told by the streams: ") for compared in second["books"]["compared"]), second
    assert second["invoices"]["known"] == first["invoices"]["accepted"] > 0
    assert second["invoices"]["accepted"] > 0
    assert second["orders"]["accepted"] == first["orders"]["accepted"] + second["throughput"]["orders"]


def test_a_folder_of_the_embedded_broker_is_refused_on_another_kafka(finished_demo: FinishedDemo) -> None:
    with RunningDemo(finished_demo.data, "--exit", "-b", "127.0.0.1:1") as demo:
        assert demo.process.wait(30) == 1
        assert "ran on the embedded broker" in demo.said
        assert "--data" in demo.said


def test_a_file_that_holds_no_orders_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("a,b\n1,2\n")
    with RunningDemo(tmp_path / "data", "--orders", str(file)) as demo:
        assert demo.process.wait(30) == 1
        assert "missing columns InvoiceNo" in demo.said
        assert not (tmp_path / "data" / "logs").exists()


def test_the_rate_is_kept(tmp_path: Path) -> None:
    with RunningDemo(tmp_path, "--exit", "--limit", "30", "--rate", "15/s") as demo:
        status, summary = demo.finish()
    assert status == 0
    assert summary["throughput"]["seconds"] >= 29 / 15
