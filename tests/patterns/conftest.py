"""Databases for inbox and outbox: SQLite in a file, and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.ext.asyncio.engine import AsyncEngine
from sqlalchemy.pool import NullPool


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = create_engine(database_url, poolclass=NullPool)
    yield made
    made.dispose()


@pytest.fixture
def async_engine(database_url: str) -> AsyncEngine:
    # Without a pool nothing is left open when a test's event loop ends.
    url = database_url.replace("sqlite:", "sqlite+aiosqlite:").replace("+psycopg", "+asyncpg")
    return create_async_engine(url, poolclass=NullPool)
