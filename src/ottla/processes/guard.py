"""Makes a child die with its parent: `guarded(argv)` gives the argument list to start instead of `argv`.

A supervisor that is killed with SIGKILL cannot stop its children. On Linux the kernel does it: a process may ask for a
signal when the thread that started it ends (prctl PR_SET_PDEATHSIG). The request has to be made inside the child. Doing
it in `preexec_fn` would run Python between fork and exec, which may deadlock in a parent with threads; so the child
starts as a tiny Python program that makes the request and then replaces itself (exec) with the real one: same process
id, nothing left behind, and the request survives the exec.

Two consequences: the thread that starts children must live as long as they do (see `Supervisor`), and elsewhere than on
Linux `guarded` changes nothing: children of a parent killed with SIGKILL then stay.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

# PR_SET_PDEATHSIG is 1, SIGKILL 9 (linux/prctl.h). The parent may be gone before the request was made: then its
# id is no longer the expected one, and the child ends at once.
_PROGRAM = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(sys.argv[1]): os._exit(137)
try: os.execvp(sys.argv[2], sys.argv[2:])
except OSError as e: print(f"{sys.argv[2]}: {e.strerror}", file=sys.stderr); os._exit(127)
"""


def guarded(argv: Sequence[str], parent_pid: int) -> list[str]:
    """The argument list that starts `argv` so that it gets SIGKILL when the starting thread ends; on Linux only."""
    if not sys.platform.startswith("linux"):
        return list(argv)
    # -I -S: no site packages, no environment, so that the detour costs about 15 ms.
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, str(parent_pid), *argv]
