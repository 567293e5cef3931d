"""Child processes: started side by side, waited for, watched, restarted and stopped together.

`Supervisor` is what `ottla dev` and `ottla demo` stand on. The pieces, one file each:

- `child.py`       what to start (`Command`) and one started process (`Child`)
- `readiness.py`   how a child says that it is ready: a line it prints, or a URL that answers 200
- `supervisor.py`  all children together
- `guard.py`       what makes a child die with its parent, even when the parent is killed with SIGKILL
- `ports.py`       is a port free, and if not, which setting changes it
- `manifest.py`    `[services.*]` of an `ottla.toml`
"""

from ottla.processes.child import Child, Command, Exit, python
from ottla.processes.manifest import ServiceEntry, read_manifest
from ottla.processes.ports import ensure_port_free, free_ports
from ottla.processes.readiness import HttpReady, LineReady, Readiness
from ottla.processes.supervisor import Supervisor

__all__ = [
    "Child",
    "Command",
    "Exit",
    "HttpReady",
    "LineReady",
    "Readiness",
    "ServiceEntry",
    "Supervisor",
    "ensure_port_free",
    "free_ports",
    "python",
    "read_manifest",
]
