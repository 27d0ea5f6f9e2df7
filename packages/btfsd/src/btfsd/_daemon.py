"""The daemon: serves until it is told to stop, and then stops in time with everything committed.

The main thread only waits: for a signal, and for the moments at which the service manager wants a sign of life. The
server (see `_serving`) has a thread with an event loop, and workers. On SIGTERM or SIGINT: no new requests, those
under way end, thin clients' changes are committed, the store is closed. Should that take longer than `stop_seconds`,
the process ends anyway; the store is safe in any case, but what thin clients had not synced is lost, and the exit code
says so.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from btfproto.opening import ChainWatch
from bttp.blocking import BlockingServer

from . import __version__
from ._endpoints import Publisher, in_the_local_network, reachable
from ._host import Host
from ._meeting_place import meeting_place
from ._notify import Notifier
from ._serving import Served, serving
from ._settings import Settings
from ._speaker import Speaker

log = logging.getLogger("btfsd")

DRAIN_SHARE = 0.5  #: of the time to stop, for requests under way; the rest is for the last commit
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_daemon(settings: Settings, host: Host, environ: Mapping[str, str]) -> None:
    """Serve until a signal comes. Raises BlocktreeError where it cannot start, or not commit at the end."""
    notifier = Notifier(environ, os.getpid())
    speaker = Speaker(host.identity, host.path, time.time)
    with _signals_kept(), serving(settings, host, speaker.identity) as served:
        endpoints = reachable(served.server.endpoints, settings.endpoints)
        published = endpoints if settings.endpoints.publish else ()
        publisher = Publisher(served.reader, host.identity, host.path, published, time.time)
        publisher.look()
        with in_the_local_network(host.domain.root, endpoints, settings.endpoints), meeting_place(settings.meetings):
            _announce(served.server, host, settings, notifier)
            _wait(notifier, served.chains, speaker, publisher, served)
        began = time.monotonic()
        notifier.stopping()
        _insist(settings.stop_seconds)
        log.info("stopping", extra={"fields": {"event": "stopping"}})
        served.drain(settings.stop_seconds * DRAIN_SHARE)
    log.info("stopped, everything is committed", extra={"fields": {"event": "stopped", "seconds": _since(began)}})


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Let the stop signals wait for `_wait`. All threads that start inside inherit this, so none of them is struck.

    A handler could not set an event instead: it runs in the main thread, perhaps while that holds the event's lock.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _announce(server: BlockingServer, host: Host, settings: Settings, notifier: Notifier) -> None:
    served = [name for name, on in (("store", settings.services.store), ("files", settings.services.files)) if on]
    fields = {
        "event": "started",
        "version": __version__,
        "endpoints": list(server.endpoints),
        "path": str(host.path),
        "principal": str(host.identity.principal),
        "services": served,
        "pid": os.getpid(),
    }
    listening = ", ".join(server.endpoints)
    log.info("serving %s at %s, listening on %s", " and ".join(served), host.path, listening, extra={"fields": fields})
    if not settings.listen:
        log.info("other machines cannot connect: give --listen HOST:PORT, or set `listen`")
    notifier.ready(f"listening on {listening}")


def _wait(notifier: Notifier, chains: ChainWatch, speaker: Speaker, publisher: Publisher, served: Served) -> None:
    """Return when a stop signal comes. A second one ends the process at once, as its sender wants."""
    periods = [
        seconds for seconds in (notifier.watchdog_seconds, speaker.interval, publisher.interval) if seconds is not None
    ]
    due = chains.look()
    while not _stop_signal(min(due, *periods)):
        notifier.alive()
        due = chains.look()
        speaker.look(served.held.shown, served.server.renew)
        publisher.look()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _stop_signal(seconds: float) -> bool:
    return signal.sigtimedwait(STOP_SIGNALS, seconds) is not None


def _insist(seconds: float) -> None:
    """End the process if it has not ended by itself by then."""

    def give_up() -> None:
        log.error("the stop took longer than stop_seconds (%g): changes of thin clients may be lost", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
