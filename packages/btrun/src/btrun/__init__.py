"""Actors, protocols and services on blocktree paths."""
