"""Test kit: a file system in memory, and a mount of it (`python -m btfuse.testing MOUNTPOINT`).

Public, for tests of whatever stands on `FsProvider` or on a mount; not for anything that should outlive its process.
"""

from ._memory_provider import MemoryProvider

__all__ = ["MemoryProvider"]
