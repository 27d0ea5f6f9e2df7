"""Secure messages between blocktree paths."""
