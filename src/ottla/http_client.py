"""httpx, without its command line.

The package imports the part behind its command `httpx`, and with it rich and pygments: seven megabytes that no service
has a use for. It does without that part where it cannot be imported.
"""

from __future__ import annotations

import sys

if "httpx" in sys.modules:
    import httpx
else:
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    try:
        import httpx
    finally:
        del sys.modules["httpx._main"]

__all__ = ["httpx"]
