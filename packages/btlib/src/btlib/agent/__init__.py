"""The agent: a process that holds unlocked keys for a session, so that a passphrase is typed once.

    bt, btfuse, btfsd ── Unix socket, one request a connection ── agent: keys in memory, times, nothing on disk

Keys go in by a passphrase, and never come out: the agent signs and opens. Whoever runs as the same user may ask; nobody
else can. Locking throws the process's memory away: it executes itself anew and keeps only its socket. It does not guard
against its own user's other programs while it is unlocked, and not against root.
"""

from ._client import AgentClient, AgentKeys, identity_from_agent
from ._messages import Held, Status
from ._place import agent_socket
from ._process import start_agent
from ._times import Times

__all__ = [
    "AgentClient",
    "AgentKeys",
    "Held",
    "Status",
    "Times",
    "agent_socket",
    "identity_from_agent",
    "start_agent",
]
