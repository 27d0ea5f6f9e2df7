"""`Rescuing`: no side of a conflict is dropped silently. What could not be committed is kept, and that is reported.

    in the tree       `.recovered/<time>-<number>/…` at the top of the write scope: through the ordinary calls, in a
                      thread of its own, since it may have to wait for the lease that was lost
    on this machine   where that fails, and for what is still uncommitted when a file system is shut down

The names below are those that the objects had. See `_rescue` for what is rescued.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from btlib.errors import BlocktreeError
from btlib.kinds import Kind

from ..errors import FsError
from ..provider import AttributeChanges, FileKind, Inode, OpenFlags
from ._keeper import Keeper, Kept
from ._lease import Lease
from ._rescue import RECOVERED, Path, ReadBase, Rescue, Rescued, collect

log = logging.getLogger("btfproto.localfs")

NANOSECONDS = 10**9
TRIES = 3  #: how often the lease may be lost again meanwhile
AGAIN = frozenset({Kind.FENCED, Kind.CONFLICT, Kind.STALE})
NEW_FILE = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.EXCLUSIVE


class Rescuing(Lease):
    """Adds the rescue of lost changes."""

    def start_rescuing(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._losses = 0
        self._rescuers: list[threading.Thread] = []
        self._stamps: set[str] = set()  # of rescues under way: what is lost of these is written anew, not rescued

    def discard(self, error: FsError) -> None:
        self._losses += 1
        rescues = collect(self.dirty.values(), self.attached, self._stamps)
        try:
            super().discard(error)
        finally:
            self._rescuers = [thread for thread in self._rescuers if thread.is_alive()]
            for rescue in rescues:
                thread = threading.Thread(target=self._rescue, args=(rescue, error), name="localfs-rescue", daemon=True)
                self._rescuers.append(thread)
                thread.start()

    def finish_rescues(self) -> None:
        """Return when everything that was lost so far is kept. Never with the lock held."""
        for thread in list(self._rescuers):
            thread.join()

    def keep_uncommitted(self, error: FsError) -> FsError:
        """What is not committed when this file system ends, which `error` tells: the same error with where it is.

        Never with the lock held.
        """
        with self.mutex:
            pending = [] if self.pending is None else [member.inode for member in self.pending.members]
            changed = {inode.number: inode for inode in [*pending, *self.dirty.values()]}
            rescues = collect(changed.values(), self.attached, set())
        places = [self._keep_here(rescue, error, told=True) for rescue in rescues]
        return FsError(error.kind, "; ".join([error.message, *places]), "see: bt status" if places else error.hint)

    def _rescue(self, rescue: Rescue, lost: FsError) -> None:
        for attempt in range(TRIES):
            name = self._new_name()
            self._stamps.add(name)
            try:
                self._keep_in_tree(rescue, name)
            except FsError as error:
                if error.kind not in AGAIN or attempt == TRIES - 1:
                    log.warning("what could not be saved cannot be kept in %s: %s", rescue.place or "/", error.message)
                    break
            else:
                self._report_kept(rescue, lost, name, tree=f"{rescue.place}/{RECOVERED}/{name}")
                return
            finally:
                self._stamps.discard(name)
        self._keep_here(rescue, lost)

    def _keep_here(self, rescue: Rescue, lost: FsError, *, told: bool = False) -> str:
        """What became of it. `told`: whoever called says so, so that the log need not say it of what cannot be kept."""
        name = self._new_name()
        try:
            place = self._keeper.keep(name, rescue.objects, self._base_of)
        except (BlocktreeError, OSError) as error:
            if not told:
                count, place = rescue.count, rescue.place or "/"
                log.error("%d changed objects in %s are lost: %s; %s", count, place, lost.message, error)
            return f"{rescue.count} changed objects in {rescue.place or '/'} are lost: {error}"
        self._report_kept(rescue, lost, name, directory=place)
        return f"{rescue.count} changed objects are kept in {place}"

    def _report_kept(
        self, rescue: Rescue, lost: FsError, name: str, *, tree: str | None = None, directory: str | None = None
    ) -> None:
        log.warning(
            "%d objects that could not be saved are kept in %s: %s", rescue.count, tree or directory, lost.message
        )
        moment = self.clock() // NANOSECONDS
        kept = Kept(name=name, time=moment, reason=lost.message, files=rescue.count, tree=tree, directory=directory)
        try:
            self._keeper.note(kept)
        except OSError as error:
            log.warning("no note of that for bt status: %s", error)

    def _new_name(self) -> str:
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.clock() // NANOSECONDS))
        return f"{moment}-{self.random(4).hex()}"

    def _keep_in_tree(self, rescue: Rescue, name: str) -> None:
        """Raises FsError; then some of it may be there already."""
        losses = self._losses
        top = self._recovered_in(rescue)
        places: dict[Path, Inode] = {(): self.mkdir(top, name, 0o755, rescue.owner).inode}
        for found in rescue.objects:
            places[found.path] = self._make_again(places[found.path[:-1]], found)
        self.sync()
        if self._losses != losses:
            raise FsError(Kind.CONFLICT, "the write lease was lost again meanwhile")

    def _recovered_in(self, rescue: Rescue) -> Inode:
        try:
            return self.mkdir(rescue.top.number, RECOVERED, 0o755, rescue.owner).inode
        except FsError as error:
            if error.kind is not Kind.EXISTS:
                raise
        return self.lookup(rescue.top.number, RECOVERED).inode

    def _make_again(self, parent: Inode, found: Rescued) -> Inode:
        name = found.path[-1]
        if found.kind is FileKind.DIRECTORY:
            inode = self.mkdir(parent, name, found.mode, found.owner).inode
        elif found.kind is FileKind.SYMLINK:
            inode = self.symlink(parent, name, found.target, found.owner).inode
        elif found.kind is FileKind.FILE:
            inode = self._copy(parent, name, found)
        else:
            inode = self.mknod(parent, name, found.kind, found.mode, found.owner, found.device).inode
        for attribute, value in found.xattrs.items():
            self.setxattr(inode, attribute, value)
        self.setattr(inode, AttributeChanges(modified=found.modified))
        return inode

    def _copy(self, parent: Inode, name: str, found: Rescued) -> Inode:
        attributes, handle = self.create(parent, name, found.mode, found.owner, NEW_FILE)
        try:
            for start, content in found.pieces(self._base_of(found)):
                self.write(handle, start, content)
        finally:
            self.close(handle)
        self.setattr(attributes.inode, AttributeChanges(size=found.size))
        return attributes.inode

    def _base_of(self, found: Rescued) -> ReadBase | None:
        """Reads the file as it is now."""
        return partial(self._base, found) if found.origin else None

    def _base(self, found: Rescued, start: int, size: int) -> bytes:
        try:
            handle = self.open(found.origin, OpenFlags.READ)
            try:
                return self.read(handle, start, size)
            finally:
                self.close(handle)
        except FsError as error:
            log.warning("%s: from %d on only what was written here is kept: %s", found.path[-1], start, error.message)
            return b""
