"""`ottla group ...`: consumer groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ottla.cli.connection import AsJson, Bootstrap, admin_for, complete_group, meant, settings_for

if TYPE_CHECKING:
    from ottla.kafka.admin import GroupInfo, PartitionLag

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List and describe consumer groups.")


@app.command("list")
def list_groups(bootstrap: Bootstrap = None, as_json: AsJson = False) -> None:
    """List all consumer groups and their states.

    JSON: {"groups": [{"group", "state"}]}.
    """
    from ottla.cli.output import print_json, print_table

    groups = admin_for(settings_for(bootstrap)).groups()
    if as_json:
        print_json({"groups": [{"group": name, "state": state} for name, state in groups.items()]})
    else:
        print_table(["GROUP", "STATE"], list(groups.items()), empty="there are no consumer groups")


@app.command()
def describe(
    group: Annotated[str, typer.Argument(help="The consumer group.", autocompletion=complete_group)],
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show a group's state, its members, and who is how far on which partition.

    JSON: {"group", "state", "type", "assignor", "coordinator", "lag", "members": [...], "partitions": [...]}.
    """
    import msgspec

    from ottla.cli.lag import total_lag
    from ottla.cli.output import print_json
    from ottla.errors import KafkaError
    from ottla.kafka.ages import with_ages

    settings = settings_for(bootstrap)
    admin = admin_for(settings)
    groups = admin.groups()
    if group not in groups:
        raise KafkaError(
            f"there is no consumer group {group!r} at {settings.kafka.bootstrap_servers}{meant(group, groups)}; "
            "`ottla group list` shows them all"
        )
    info = admin.describe_group(group)
    partitions = with_ages(settings.kafka, admin.lag(group))
    if as_json:
        total = total_lag(partitions)
        print_json({**msgspec.structs.asdict(info), "lag": total, "partitions": partitions})
    else:
        _print_tables(info, partitions)


def _print_tables(info: GroupInfo, partitions: list[PartitionLag]) -> None:
    from ottla.cli.lag import age
    from ottla.cli.output import print_table

    owners = {at: member for member in info.members for at in member.assignment}
    lags = {(part.topic, part.partition): part for part in partitions}
    count = f"{len(info.members)} member{'' if len(info.members) == 1 else 's'}"
    title = f"{info.group}: {info.state.lower()}, {count}, coordinator {info.coordinator}"
    if info.assignor:
        title += f", assignor {info.assignor}"
    rows = []
    for at in sorted({*owners, *lags}):
        part, owner = lags.get(at), owners.get(at)
        rows.append(
            (
                *at,
                part.committed if part else None,
                part.end if part else None,
                part.lag if part else None,
                age(part.seconds) if part else None,
                owner.client_id if owner else None,
                owner.host if owner else None,
                owner.member_id if owner else None,
            )
        )
    if not rows:
        print(title)
    print_table(
        ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "AGE", "CLIENT", "HOST", "MEMBER"],
        rows,
        title=title,
        empty="the group has committed nothing and no member has a partition",
    )
