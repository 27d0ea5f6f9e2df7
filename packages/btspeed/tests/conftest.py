"""These tests need the compiled module; where there is no compiler, there is nothing to test."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("btspeed._sectors") else ["test_sectors.py"]
