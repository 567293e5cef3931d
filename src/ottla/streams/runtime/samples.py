"""What an instance reports to Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ottla.observability.samples import Sample
from ottla.streams.runtime.instance import Instance


@dataclass
class Counts:
    """What is counted as it happens."""

    commits: int = 0
    commit_seconds: float = 0.0
    rollbacks: int = 0


def samples(instance: Instance, counts: Counts) -> Iterator[Sample]:
    """Every metric of an instance, as it is now."""
    for task in instance.status():
        one = {"task": task.task}
        yield Sample("ottla_streams_task_running", "Whether the task runs", "gauge", task.state == "running", one)
        yield Sample("ottla_streams_records_processed", "Input records processed", "counter", task.processed, one)
        for (operator, reason), count in task.dropped.items():
            labels = {**one, "operator": operator, "reason": reason}
            yield Sample("ottla_streams_records_dropped", "Records left out", "counter", count, labels)
        if task.lag is not None:
            yield Sample("ottla_streams_lag", "Records not processed yet", "gauge", task.lag, one)
    for at in instance.progress():
        labels = {"task": at.task, "changelog": at.topic, "standby": str(at.standby).lower()}
        remaining = max(0, at.end - at.position) if not at.caught_up else 0
        yield Sample(
            "ottla_streams_restore_remaining", "Changelog records not in the store yet", "gauge", remaining, labels
        )
    yield Sample(
        "ottla_streams_restored_records", "Changelog records read by restorations", "counter",
        instance.restored_records, {},
    )  # fmt: skip
    yield Sample("ottla_streams_commits", "Commits", "counter", counts.commits, {})
    yield Sample("ottla_streams_commit_seconds", "Time that commits took", "counter", counts.commit_seconds, {})
    yield Sample("ottla_streams_rollbacks", "Commits that were undone and done again", "counter", counts.rollbacks, {})
