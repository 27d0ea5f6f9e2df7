"""File systems over a link: `FsClient` is an `FsProvider` at a server, `FsServer` serves providers to clients.

The messages are those of `btfproto.messages`; `docs/spec/files.md` specifies them. Who may attach where is decided by
an `Attacher`; `VolumeAttacher` is the one that goes by the grants of a domain.
"""

from ._attachment import Attacher, Attachment
from ._client import FsClient
from ._limits import SessionLimits
from ._server import CHANGES, FsServer
from ._volumes import VolumeAttacher

__all__ = ["CHANGES", "Attacher", "Attachment", "FsClient", "FsServer", "SessionLimits", "VolumeAttacher"]
