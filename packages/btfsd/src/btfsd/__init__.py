"""The blocktree file server daemon."""
