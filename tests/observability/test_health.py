from __future__ import annotations

from ottla.listeners.watch import Lag
from ottla.observability.health import Health
from ottla.observability.metrics import Metrics


def test_a_service_is_ready_while_no_condition_is_raised() -> None:
    health = Health("shop")
    assert health.wrong() == []
    health.raise_condition("registry", "waiting for the registry")
    assert health.wrong() == ["waiting for the registry"]
    health.clear_condition("registry")
    assert health.wrong() == []


def test_a_condition_does_not_end_the_life_of_a_service() -> None:
    health = Health("shop")
    health.raise_condition("broker", "no broker answers")
    assert health.dead() == []


def test_a_vital_sign_that_fails_makes_the_service_dead_and_not_ready() -> None:
    health = Health("shop")
    reason: list[str] = []
    health.watch(lambda: reason[0] if reason else None)
    assert health.dead() == []
    reason.append("the consumer thread ended")
    assert health.dead() == ["the consumer thread ended"]
    assert health.wrong() == ["the consumer thread ended"]


def test_raising_a_condition_again_replaces_its_reason() -> None:
    health = Health("shop")
    health.raise_condition("broker", "first")
    health.raise_condition("broker", "second")
    assert health.wrong() == ["second"]


def test_series_of_a_handler_exist_at_zero_before_the_first_record() -> None:
    metrics = Metrics("shop")
    metrics.expect("orders", "reserve")
    assert b'ottla_records_failed_total{handler="reserve",service="shop",topic="orders"} 0.0' in metrics.page()


def test_every_promised_metric_is_on_the_page() -> None:
    metrics = Metrics("shop")
    metrics.expect("orders", "reserve")
    metrics.handled("orders", "reserve", 0.002)
    metrics.skipped("orders")
    metrics.published("stock")
    metrics.watch_lag(lambda: {("orders", 2): Lag(7, 1.5)})
    page = metrics.page().decode()
    for name in (
        "ottla_records_handled_total",
        "ottla_records_failed_total",
        "ottla_records_retried_total",
        "ottla_records_dead_lettered_total",
        "ottla_records_skipped_total",
        "ottla_events_published_total",
        "ottla_handler_seconds_bucket",
        "ottla_commits_failed_total",
    ):
        assert name in page
    assert 'ottla_consumer_lag{partition="2",service="shop",topic="orders"} 7.0' in page
    assert 'ottla_consumer_lag_seconds{partition="2",service="shop",topic="orders"} 1.5' in page
