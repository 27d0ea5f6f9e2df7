"""Test kit of bttp: two cores joined in memory under a virtual clock, and the conformance suite of shells.

`Pair` needs no socket, thread or wait, so that what a link does can be stepped through. `check_shell` runs the same
behaviour over whatever connects and serves; see its module for what a shell under test offers.
"""

from ._pair import Pair
from ._shell_suite import check_shell
from ._stage import ShellUnderTest

__all__ = ["Pair", "ShellUnderTest", "check_shell"]
