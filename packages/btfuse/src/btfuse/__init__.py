"""Mounts a blocktree through FUSE.

The command is `btfuse`. For programs that mount on a user's behalf, `unmount_and_wait` is what `btfuse -u` does.
"""

from ._errno import errno_of
from ._errors import FuseError
from ._mountpoint import MountEntry, find_mount, unmount_and_wait

__all__ = ["FuseError", "MountEntry", "errno_of", "find_mount", "unmount_and_wait"]
