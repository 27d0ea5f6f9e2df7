"""Test kit of btrun: programs of actors under a virtual clock, and several runtimes on a simulated network.

Nothing here sleeps: when nothing can run, the clock jumps to the next deadline; when there is none, the run fails and
says so, for it would hang for ever.
"""

from ._clock import HangError, VirtualLoop, run_virtually
from ._simulation import Simulation, simulate

__all__ = ["HangError", "Simulation", "VirtualLoop", "run_virtually", "simulate"]
