"""A service in a test: its app on the session's broker, under names of the test's own."""

from ottla.testing.harness.namespace import AppUnderTest, Namespace
from ottla.testing.harness.service import ServiceUnderTest
from ottla.testing.harness.sync_service import SyncServiceUnderTest

__all__ = ["AppUnderTest", "Namespace", "ServiceUnderTest", "SyncServiceUnderTest"]
