"""These tests need the compiled modules; where they were not built, there is nothing to test."""

try:
    import btspeed
except ImportError:
    collect_ignore = ["test_encode.py", "test_sectors.py", "test_waiting.py"]
else:
    assert btspeed.__all__
