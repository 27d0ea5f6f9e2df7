"""The bt command: one tree of names for files, machines and messages."""
