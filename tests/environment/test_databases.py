"""The databases that tests may ask for can be had."""

from __future__ import annotations

import psycopg

from tests.servers.redis import Redis


def test_a_new_postgresql_database_takes_and_gives_back_a_row(postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE orders (id text)")
        connection.execute("INSERT INTO orders VALUES ('o-1')")
        assert connection.execute("SELECT id FROM orders").fetchall() == [("o-1",)]


def test_redis_answers_a_ping(redis: Redis) -> None:
    assert redis.ask(b"PING\r\n") == b"+PONG\r\n"
