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
    """Show how many records each consumer group has still to handle: per partition, and in total per group.

    A service's consumer group is its App's name. Where the group has committed nothing, every record counts.

    JSON: {"groups": [{"group", "lag", "partitions": [{"topic", "partition", "committed", "end", "lag"}]}]}.
    """
    from ottla.cli.output import print_json
    from ottla.errors import KafkaError

    settings = settings_for(bootstrap)
    admin = admin_for(settings)
    groups = admin.groups()
    if group is not None and group not in groups:
        raise KafkaError(
            f"there is no consumer group {group!r} at {settings.kafka.bootstrap_servers}{meant(group, groups)}; "
            "`ottla group list` shows them all"
        )
    found = {name: admin.lag(name) for name in ([group] if group is not None else groups)}
    if as_json:
        print_json({"groups": [_document(name, partitions) for name, partitions in found.items()]})
    else:
        _print_table(found)


def total_lag(partitions: list[PartitionLag]) -> int:
    """Records to handle on all partitions."""
    return sum(partition.lag for partition in partitions)


def _document(group: str, partitions: list[PartitionLag]) -> dict[str, Any]:
    return {"group": group, "lag": total_lag(partitions), "partitions": partitions}


def _print_table(found: dict[str, list[PartitionLag]]) -> None:
    from ottla.cli.output import print_table

    rows: list[tuple[Cell, ...]] = []
    styles: dict[int, str] = {}
    for group, partitions in found.items():
        rows += [(group, part.topic, part.partition, part.committed, part.end, part.lag) for part in partitions]
        behind = total_lag(partitions)
        styles[len(rows)] = "bold yellow" if behind else "bold green"
        rows.append((group, "total", None, None, None, behind))
    print_table(
        ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG"],
        rows,
        empty="no consumer group has committed anything",
        styles=styles,
    )
