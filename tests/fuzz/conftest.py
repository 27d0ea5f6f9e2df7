"""The targets use types and slow implementations of the packages' own tests, which lie below the root."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
