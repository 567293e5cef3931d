"""The pytest plugin, as its users run it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def users_tests(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    return pytester


def test_a_test_that_asks_for_kafka_gets_a_broker(users_tests: pytest.Pytester) -> None:
    users_tests.makepyfile(
        """
        from confluent_kafka.admin import AdminClient

        def test_with_a_broker(kafka):
            client = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
            assert len(client.list_topics(timeout=20).brokers) == 1

        def test_with_the_same_broker(kafka):
            assert kafka.running
        """
    )
    users_tests.runpytest_subprocess().assert_outcomes(passed=2)


def test_a_test_that_asks_for_the_registry_gets_one_on_that_broker(users_tests: pytest.Pytester) -> None:
    users_tests.makepyfile(
        """
        import httpx

        def test_with_a_registry(kafka_registry):
            assert httpx.get(kafka_registry.url + "/subjects", timeout=20).json() == []
        """
    )
    users_tests.runpytest_subprocess().assert_outcomes(passed=1)


def test_settings_point_at_broker_and_registry_for_one_test(users_tests: pytest.Pytester) -> None:
    users_tests.makepyfile(
        """
        from ottla import load_settings

        def test_with(kafka_env, kafka, kafka_registry):
            settings = load_settings()
            assert settings.kafka.bootstrap_servers == kafka.bootstrap_servers
            assert settings.registry.url == kafka_registry.url

        def test_without(kafka):
            assert load_settings().kafka.bootstrap_servers != kafka.bootstrap_servers
        """
    )
    users_tests.runpytest_subprocess().assert_outcomes(passed=2)


def test_no_broker_is_started_unasked(users_tests: pytest.Pytester) -> None:
    users_tests.makepyfile(
        """
        import sys

        def test_nothing():
            assert "ottla.broker" not in sys.modules
            assert "confluent_kafka" not in sys.modules
        """
    )
    result = users_tests.runpytest_subprocess("--setup-show")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*kafka*(session)*")


def test_a_failed_test_shows_what_the_broker_said_meanwhile(users_tests: pytest.Pytester) -> None:
    users_tests.makepyfile(
        """
        def test_that_fails(kafka):
            with kafka.log_path.open("a") as log:
                log.write("the broker's last words\\n")
            assert False
        """
    )
    result = users_tests.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*embedded broker log*", "*the broker's last words*"])


def test_an_app_runs_in_one_test_after_the_other_each_under_names_of_its_own(users_tests: pytest.Pytester) -> None:
    users_tests.makepyfile(
        """
        import asyncio
        from dataclasses import dataclass
        from ottla import App, event

        @event("run-again-events", key="id")
        @dataclass
        class Placed:
            id: str

        app = App("run-again")

        async def publish():
            async with app.running():
                return await app.publish(Placed("p-1"))

        def test_once(kafka_env, kafka_prefix):
            placed = asyncio.run(publish())
            assert placed.topic == kafka_prefix + "run-again-events"
            assert placed.offset == 0

        def test_again(kafka_env):
            assert asyncio.run(publish()).offset == 0

        def test_under_test(app_under_test):
            with app_under_test(app) as service:
                (placed,) = service.publish(Placed("p-1"))
                assert placed.offset == 0
        """
    )
    users_tests.runpytest_subprocess().assert_outcomes(passed=3)
