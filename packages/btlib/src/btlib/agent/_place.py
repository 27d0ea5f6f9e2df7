"""Where the agent of a home listens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..home import Home

SOCKET_NAME = "agent.sock"


def agent_socket(environ: Mapping[str, str]) -> Path:
    """The socket's path: in the home where BLOCKTREE_HOME names one, else in the session's runtime directory.

    Without XDG_RUNTIME_DIR it lies in the configuration, whose directory is private as well.
    """
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not environ.get("BLOCKTREE_HOME") and Path(runtime).is_absolute():
        return Path(runtime) / "blocktree" / SOCKET_NAME
    return Home.find(environ).config / "run" / SOCKET_NAME
