"""The package says which version it is."""

import btrun


def test_version_is_that_of_the_distribution() -> None:
    assert btrun.__version__.split(".")[:2] == ["0", "1"]
