"""`ottla demo` before it starts anything: what it refuses, and how it says so."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import ottla.cli.demo
from ottla.cli.root import run


def test_a_rate_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for rate in ("fast", "0", "-5/s", "5/min"):
        assert run(["demo", "--rate", rate]) == 2
        assert "such as 50/s" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "rate"), [("50", 50.0), ("50/s", 50.0), ("0.5/s", 0.5), (None, None)])
def test_a_rate_is_invoices_per_second(text: str | None, rate: float | None) -> None:
    assert ottla.cli.demo._per_second(text) == rate


def test_without_the_shops_packages_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "fastapi" else importlib.util.find_spec(name)

    monkeypatch.setattr(ottla.cli.demo, "find_spec", find_spec)
    monkeypatch.chdir(tmp_path)
    assert run(["demo"]) == 1
    said = capsys.readouterr().err
    assert "needs fastapi" in said
    assert "pip install 'ottla[all]'" in said


@pytest.mark.parametrize("inside_the_package", [True, False])
def test_the_shop_is_found_in_a_wheel_and_in_a_checkout(
    inside_the_package: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "src" / "ottla"
    examples = (package if inside_the_package else tmp_path) / "examples"
    (examples / "shop" / "demo").mkdir(parents=True)
    (examples / "shop" / "demo" / "run.py").touch()
    monkeypatch.setattr(ottla.cli.demo, "__file__", str(package / "cli" / "demo.py"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    ottla.cli.demo._require_the_shop()
    assert sys.path[0] == str(examples)


def test_an_incomplete_installation_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ottla.cli.demo, "__file__", str(tmp_path / "src" / "ottla" / "cli" / "demo.py"))
    assert run(["demo"]) == 1
    assert "is the installation complete?" in capsys.readouterr().err


def test_a_file_that_does_not_exist_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--orders", "nowhere.csv", "--broker-port", "0", "--registry-port", "0"]) == 1
    said = capsys.readouterr().err
    assert "nowhere.csv" in said
    assert "--orders" in said
    assert list(tmp_path.iterdir()) == []
