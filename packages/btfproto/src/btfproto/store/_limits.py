"""Sizes that every store keeps to."""

from __future__ import annotations

ID_SIZE = 16
MAX_NUMBER = 2**63 - 1  #: versions, record numbers and fences: what an SQLite integer holds
MAX_RECORD = 2**21  #: the largest sector (1 MiB) with its seal, and room; keeps a record below any message limit
MAX_SIGNED = 2**20  #: an encoded signed header with all the attributes it may carry, and room
INLINE_LIMIT = 16 * 1024 + 28  #: one sealed 16 KiB sector: the largest record (0, 0) that travels with its head
