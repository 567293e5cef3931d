"""An instance of the accounts in a process of its own:

python -m tests.eventsourcing.process NAME BOOTSTRAP_SERVERS REGISTRY_URL STATE_DIR
"""

from __future__ import annotations

import asyncio
import signal
import sys

from ottla.eventsourcing.app import AggregateApp
from ottla.settings import KafkaSettings, RegistrySettings, Settings, StreamsSettings
from tests.eventsourcing.accounts import accounts


def settings_for(bootstrap_servers: str, registry: str, state_dir: str) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, topic_partitions=3),
        registry=RegistrySettings(url=registry, timeout_s=2.0),
        streams=StreamsSettings(state_dir=state_dir, session_timeout_s=6.0, transaction_timeout_s=6.0),
    )


async def main(name: str, bootstrap_servers: str, registry: str, state_dir: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = settings_for(bootstrap_servers, registry, state_dir)
    async with AggregateApp(f"{name}-app", accounts(name).aggregate, settings=settings).running():
        print("started", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
