"""An environment of their own for the frameworks we compare ourselves with: they pin what we do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.commands import note

PACKAGES = ("faststream[confluent,kafka]>=0.6", "quixstreams>=3.20", "faust-streaming>=0.11", "fastavro>=1.9")


def peers_python() -> str:
    """The interpreter of an environment with the peers; made first where there is none, outside the checkout.

    Raises:
        subprocess.CalledProcessError: They cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "ottla" / "peers"
    python = cache / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "bin" / "python"
    ready = python.parent.parent / "installed"
    wanted = "\n".join(PACKAGES)
    if not ready.exists() or ready.read_text("utf-8") != wanted:
        note(f"installing {', '.join(PACKAGES)}")
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True, stdout=sys.stderr)
        ready.write_text(wanted, "utf-8")
    return str(python)
