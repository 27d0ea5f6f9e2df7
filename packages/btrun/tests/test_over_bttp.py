"""Actors of two runtimes over real links."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import bttp
import pytest
from btlib.identity import Identity
from btlib.kinds import Kind
from btlib.paths import BlockPath
from btlib.testing import make_domain_identities, make_identity
from btrun import DiedError, Down, Ref, Runtime, UnavailableError
from btrun.reasons import Unreachable

from .test_remote import Add, Break, Counter, Me, Observer
