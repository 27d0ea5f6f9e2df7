"""Paths, principals, credentials, capabilities, blocks and their Merkle tree."""
