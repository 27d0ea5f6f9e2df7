"""Actors, protocols and services on blocktree paths.

This package holds its place in the import order (between `bttp` and `btfsd`); the runtime itself is not written yet.
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("btrun")
