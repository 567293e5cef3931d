"""The demo on a terminal, as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path


def test_on_a_terminal_the_page_is_drawn_and_ctrl_c_ends_with_the_summary(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 130, 0, 0))
    ports = ["--broker-port", "0", "--registry-port", "0", "--http-port", "0"]
    command = [sys.executable, "-m", "ottla.cli", "demo", "--limit", "25", "--data", str(tmp_path), *ports]
    # The terminal says how large it is, and not whoever runs the tests.
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment["TERM"] = "xterm"
    demo = subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment)
    os.close(theirs)
    screen = bytearray()

    def read() -> None:
        while True:
            try:
                screen.extend(os.read(ours, 65536))
            except OSError:  # the other end is closed: the demo has ended
                return

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        deadline = time.monotonic() + 60
        while b"the books balance" not in screen:
            assert time.monotonic() < deadline, screen.decode("utf-8", "replace")[-3000:]
            assert demo.poll() is None, screen.decode("utf-8", "replace")[-3000:]
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(5) == 0
        reading.join(5)
    finally:
        demo.kill()
        demo.wait()
        os.close(ours)
    shown = screen.decode("utf-8", "replace")
    for part in ("The Ottla shop", "notifications", "latest orders", "created > reserved > paid > shipped", "/docs"):
        assert part in shown
    summary = shown[shown.rindex("Invoices") :]
    assert "25 read = " in summary
    assert "nothing lost, nothing done twice" in summary
