"""What an App offers to steer its listeners while they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from ottla.listeners.control import Control

Function = TypeVar("Function", bound=Callable[..., Any])


class AppListening:
    """The part of App that reaches into the consumer."""

    @cached_property
    def consumer(self) -> Control:
        """Pauses, resumes and seeks while the app runs."""
        return Control()

    @cached_property
    def dependency_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """What stands in for the dependencies of handlers, in tests: `app.dependency_overrides[database] = fake`."""
        return {}

    def on_assigned(self, hook: Function) -> Function:
        """Runs `hook(partitions)`, plain or async, before the first record of partitions that have come to this member;
        they are (topic, partition) pairs."""
        self.consumer.assigned_hooks.append(hook)
        return hook

    def on_revoked(self, hook: Function) -> Function:
        """Runs `hook(partitions)` when partitions go, also at a stop: after what was in hand is finished and committed,
        or at once where they are another member's already."""
        self.consumer.revoked_hooks.append(hook)
        return hook
