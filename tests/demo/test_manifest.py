from __future__ import annotations

from pathlib import Path

import pytest

from ottla.errors import ConfigurationError
from ottla.processes import ServiceEntry, read_manifest


def manifest(folder: Path, text: str) -> Path:
    path = folder / "ottla.toml"
    path.write_text(text)
    return path


def test_services_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        """
        [kafka]
        bootstrap_servers = "127.0.0.1:9092"
        [services.orders]
        run = "shop.orders:api"
        port = 8000
        watch = ["shop/orders"]
        env = { OTTLA_DATABASE__URL = "sqlite:///orders.db", WORKERS = 2, DEBUG = true }
        [services.audit]
        run = "shop.audit:app"
        """,
    )
    assert read_manifest(path) == [
        ServiceEntry(
            "orders",
            "shop.orders:api",
            8000,
            (tmp_path.resolve() / "shop/orders",),
            {"OTTLA_DATABASE__URL": "sqlite:///orders.db", "WORKERS": "2", "DEBUG": "true"},
        ),
        ServiceEntry("audit", "shop.audit:app", None, (tmp_path.resolve(),), {}),
    ]


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        """
        [services.a]
        run = "no colon"
        port = 70000
        [services.b]
        run = "m:app"
        watch = "src"
        wach = []
        port = 8000
        [services.c]
        run = "m:app"
        port = 8000
        """,
    )
    with pytest.raises(ConfigurationError) as caught:
        read_manifest(path)
    message = str(caught.value)
    for fault in ("no colon", "70000", "list of paths", "unknown setting wach", "port 8000 is claimed by b and c"):
        assert fault in message


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "names no service"), ("[services]\n", "names no service"), ("= nonsense", "not valid TOML")],
)
def test_a_useless_manifest_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_manifest(manifest(tmp_path, text))


def test_a_missing_manifest_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no such file.*services\.NAME"):
        read_manifest(tmp_path / "ottla.toml")
