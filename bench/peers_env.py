"""Environments of their own for the frameworks we compare ourselves with: they pin what we do not. All of them lie
outside the checkout, and are made where they are not there yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.commands import note

PACKAGES = ("faststream[confluent,kafka]>=0.6", "quixstreams>=3.20", "faust-streaming>=0.11", "fastavro>=1.9")
SPRING = Path(__file__).parent / "spring"
HEAP = "1g"


def peers_python() -> str:
    """The interpreter of an environment with the Python peers.

    Raises:
        subprocess.CalledProcessError: They cannot be installed.
    """
    home = _cache() / f"peers-{sys.version_info[0]}.{sys.version_info[1]}"
    python, ready = home / "bin" / "python", home / "installed"
    wanted = "\n".join(PACKAGES)
    if not ready.exists() or ready.read_text("utf-8") != wanted:
        note(f"installing {', '.join(PACKAGES)}")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True, stdout=sys.stderr)
        ready.write_text(wanted, "utf-8")
    return str(python)


def spring_command() -> list[str] | None:
    """The start of a command that runs bench/spring/Orders.java; None without Java's compiler or Maven.

    Raises:
        subprocess.CalledProcessError: Its jars cannot be had.
    """
    if not all(map(shutil.which, ("java", "javac", "mvn"))):
        return None
    home = _cache() / "spring"
    ready, wanted = home / "installed", (SPRING / "pom.xml").read_text("utf-8")
    if not ready.exists() or ready.read_text("utf-8") != wanted:
        note("getting spring-kafka's jars")
        shutil.rmtree(home, ignore_errors=True)
        maven = ["mvn", "-B", "-q", "-f", str(SPRING / "pom.xml"), "dependency:copy-dependencies"]
        subprocess.run([*maven, "-DincludeScope=runtime", f"-DoutputDirectory={home}"], check=True, stdout=sys.stderr)
        ready.write_text(wanted, "utf-8")
    classes = home / "classes"
    subprocess.run(["javac", "-cp", f"{home}/*", "-d", str(classes), str(SPRING / "Orders.java")], check=True)
    return ["java", "-server", f"-Xmx{HEAP}", "-cp", f"{classes}:{home}/*", "Orders"]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "ottla"
