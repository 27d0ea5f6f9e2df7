"""Settings of every test in the workspace."""

from hypothesis import settings

# No test is timed: on a loaded machine a slow example says nothing. (In CI, Hypothesis itself also fixes the seed.)
settings.register_profile("blocktree", parent=settings(), deadline=None)
settings.load_profile("blocktree")
