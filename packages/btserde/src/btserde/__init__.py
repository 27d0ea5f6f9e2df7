"""Typed values to and from a compact, canonical binary form."""
