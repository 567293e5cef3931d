"""Lets an application begin anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ottla.errors import KafkaError
from ottla.kafka.admin import Admin
from ottla.settings import Settings
from ottla.streams.runtime.directory import delete_state
from ottla.streams.runtime.stored_topology import metadata_topic, read_stored


@dataclass(frozen=True)
class Reset:
    """What there is of an application.

    Attributes:
        group: Its group; None if there is none.
        topics: Its internal topics.
        folder: Its state on this machine; None if there is none.
    """

    application_id: str
    group: str | None
    topics: list[str]
    folder: Path | None
    admin: Admin

    @classmethod
    def of(cls, settings: Settings, admin: Admin, application: str, state_dir: str) -> Reset:
        """Finds it.

        Raises:
            KafkaError: Instances are running.
        """
        application_id = settings.kafka.named(application)
        existing = admin.topics(internal=True)
        stored = read_stored(settings.kafka, application_id)
        own = {f"{application_id}-tasks", metadata_topic(application_id)}
        if stored is not None:
            own |= {f"{application_id}-{name}" for name in stored.fingerprint["repartition"]}
            for sub in stored.fingerprint["subtopologies"].values():
                own |= {
                    f"{application_id}-{name}-changelog" for name, store in sub["stores"].items() if store["logged"]
                }
        groups = admin.groups()
        if groups.get(application_id) not in (None, "EMPTY", "DEAD"):
            members = ", ".join(member.host for member in admin.describe_group(application_id).members)
            raise KafkaError(f"{application_id} is running ({members}): stop all its instances first")
        folder = Path(state_dir) / application_id
        return cls(
            application_id,
            application_id if application_id in groups else None,
            sorted(own & existing.keys()),
            folder if folder.exists() else None,
            admin,
        )

    @property
    def anything(self) -> bool:
        """Whether there is anything to delete."""
        return self.group is not None or bool(self.topics) or self.folder is not None

    def lines(self) -> Iterator[str]:
        """What would be deleted, for people."""
        if self.group is not None:
            yield f"positions of group {self.group}"
        for topic in self.topics:
            yield f"topic {topic}"
        if self.folder is not None:
            yield f"state in {self.folder}"

    def run(self) -> None:
        """Deletes it. The record of the topology goes last: until then, `of` finds what is left after a failure.

        Raises:
            KafkaError: The cluster says no.
            ConfigurationError: A process of the application is running here.
        """
        if self.folder is not None:
            delete_state(self.folder.parent, self.application_id)
        if self.group is not None:
            self.admin.delete_group(self.group)
        last = metadata_topic(self.application_id)
        if others := [topic for topic in self.topics if topic != last]:
            self.admin.delete_topics(others)
        if last in self.topics:
            self.admin.delete_topics([last])
