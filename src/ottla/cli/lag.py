"""`ottla lag [GROUP]`: how many records each consumer group has still to handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla.cli.connection import AsJson, Bootstrap, admin_for, complete_group, meant, settings_for

if TYPE_CHECKING:
    from ottla.cli.output import Cell
    from ottla.kafka.admin import PartitionLag

app = typer.Typer(add_completion=False)


@app.command()
def lag(
    group: Annotated[
        str | None, typer.Argument(help="Only this consumer group.", autocompletion=complete_group)
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show how many records each consumer group has still to handle, and how old the first of them is: per partition,
    and per group.

    A service's consumer group is its App's name. Where the group has committed nothing, every record counts.

    JSON: {"groups": [{"group", "lag", "seconds", "partitions": [{"topic", "partition", "committed", "end", "lag",
    "seconds"}]}]}; null seconds: no record could be read.
    """
    from ottla.cli.output import print_json
    from ottla.errors import KafkaError
    from ottla.kafka.ages import with_ages

    settings = settings_for(bootstrap)
    admin = admin_for(settings)
    groups = admin.groups()
    if group is not None and group not in groups:
        raise KafkaError(
            f"there is no consumer group {group!r} at {settings.kafka.bootstrap_servers}{meant(group, groups)}; "
            "`ottla group list` shows them all"
        )
    found = {name: with_ages(settings.kafka, admin.lag(name)) for name in ([group] if group is not None else groups)}
    if as_json:
        print_json({"groups": [_document(name, partitions) for name, partitions in found.items()]})
    else:
        _print_table(found)


def total_lag(partitions: list[PartitionLag]) -> int:
    """Records to handle on all partitions."""
    return sum(partition.lag for partition in partitions)


def greatest_age(partitions: list[PartitionLag]) -> float | None:
    """Seconds since the oldest record that is to be handled was made; None where nothing is known of it."""
    return max((partition.seconds for partition in partitions if partition.seconds is not None), default=None)


def age(seconds: float | None) -> str | None:
    """An age for people: `12 s`, `5 min`, `3 h`, `2 d`."""
    if seconds is None:
        return None
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _document(group: str, partitions: list[PartitionLag]) -> dict[str, Any]:
    return {
        "group": group,
        "lag": total_lag(partitions),
        "seconds": greatest_age(partitions),
        "partitions": partitions,
    }


def _print_table(found: dict[str, list[PartitionLag]]) -> None:
    from ottla.cli.output import print_table

    rows: list[tuple[Cell, ...]] = []
    styles: dict[int, str] = {}
    for group, partitions in found.items():
        rows += [
            (group, part.topic, part.partition, part.committed, part.end, part.lag, age(part.seconds))
            for part in partitions
        ]
        behind = total_lag(partitions)
        styles[len(rows)] = "bold yellow" if behind else "bold green"
        rows.append((group, "total", None, None, None, behind, age(greatest_age(partitions))))
    print_table(
        ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "AGE"],
        rows,
        empty="no consumer group has committed anything",
        styles=styles,
    )
