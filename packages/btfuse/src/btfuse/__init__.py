"""Mounts a blocktree through FUSE."""
