"""What the closing lines say of the clients in other languages, and what becomes of a test whose client is missing."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.clients import programs
from tests.conftest import IN_CI

USED = "client used"
PROGRAMS = ("kcat", "kafkajs", "franz-go", "Java", "Confluent Java", "kcat with Avro")
OPTIONAL = ("kcat with Avro",)  # no package has it


def require(request: pytest.FixtureRequest, client: str) -> None:
    """Skips the test if the client is missing here; in CI it fails."""
    request.node.user_properties.append((USED, client))
    if client in PROGRAMS and (why := programs.missing(client)):
        if IN_CI and client not in OPTIONAL:
            pytest.fail(f"CI=true, and so this is not optional: {why}", pytrace=False)
        pytest.skip(why)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says plainly which clients the brokers were tested with."""
    counts: dict[str, Counter[str]] = {}
    for outcome, word in {"passed": "passed", "failed": "failed", "error": "failed"}.items():
        for report in terminalreporter.stats.get(outcome, []):
            for name, client in getattr(report, "user_properties", ()):
                if name == USED and (outcome != "passed" or report.when == "call"):
                    counts.setdefault(client, Counter())[word] += 1
    terminalreporter.section("clients")
    for client in [*counts, *(name for name in PROGRAMS if name not in counts)]:
        said = ", ".join(f"{count} {word}" for word, count in counts.get(client, Counter()).items())
        reason = (programs.missing(client) if client in PROGRAMS else None) or "no test that ran needs it"
        terminalreporter.write_line(f"{client}: {said or f'NOT TESTED ({reason})'}")
