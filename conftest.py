"""Settings of every test in the workspace."""

import signal

from hypothesis import settings

# No test is timed: on a loaded machine a slow example says nothing. (In CI, Hypothesis itself also fixes the seed.)
settings.register_profile("blocktree", parent=settings(), deadline=None)
settings.load_profile("blocktree")

# A shell's job in the background ignores SIGINT, and so would every program that a test starts and then interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
