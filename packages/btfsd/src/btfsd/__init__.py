"""The blocktree file server daemon: serves the store to end-to-end clients and files to thin ones."""

__version__ = "0.1.0"

__all__ = ["__version__"]
