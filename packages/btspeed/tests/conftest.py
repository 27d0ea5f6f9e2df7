"""These tests need the compiled modules; where there is no compiler, there is nothing to test."""

import importlib.util

MODULES = {"test_encode.py": "btspeed._encode", "test_sectors.py": "btspeed._sectors"}
collect_ignore = [file for file, module in MODULES.items() if importlib.util.find_spec(module) is None]
