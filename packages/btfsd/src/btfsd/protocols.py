"""What a server's two services and their clients say to each other, declared: `bt protocol show btfsd.protocols:Files`.

The declarations are for people, for `bt protocol diff`, and for the tests, which hold real conversations against them.
The services do not run them: what goes over the wire is specified in `docs/spec/files.md`, and has more to it than
states and messages. Not said here:

- A request to the files travels in an envelope with its session and a number, by which a repetition is answered and
  not redone. A session belongs to principals, not to a link, and outlives one that breaks.
- Several requests of a session may be under way at once, and are answered in any order. Each of them and its answer is
  as it says here; a declared session has one step after the other.
- Long polls (`Changes`, `Watch`) are asked for beside the others, at a path of their own.
"""

from __future__ import annotations

from btfproto.messages import Failed, files, stores
from btrun.protocol import END, Protocol, Role, State

__all__ = ["Blocks", "Files"]


class Files(Protocol):
    """A thin client and the server whose keys open the files for it: one session, from Attach to Detach."""

    client = Role("attaches a directory, and uses what is in it")
    server = Role("has the keys")

    detached = State("the client has no session, or the server has forgotten it")
    attaching = State("the server looks whether the client may attach there")
    attached = State("the client asks")
    detaching = State("the server commits what was written, and ends the session")
    acting = State("the server does it, and has nothing to tell")
    looking = State("the server looks up attributes, or makes what has some")
    following = State("the server reads a symlink")
    listing = State("the server lists a directory")
    creating = State("the server makes a file and opens it")
    opening = State("the server opens a file")
    reading = State("the server reads")
    counting = State("the server writes, or seeks, and tells how far it came")
    fetching = State("the server reads an extended attribute")
    naming = State("the server lists extended attributes")
    testing = State("the server looks who holds a lock")
    measuring = State("the server measures its space")
    waiting = State("the server waits until others change something")

    detached.lets(client, {files.Attach: attaching})
    attaching.lets(server, {files.Attached: attached, Failed: detached})
    attached.lets(
        client,
        {
            files.Detach: detaching,
            files.Lookup: looking,
            files.GetAttributes: looking,
            files.SetAttributes: looking,
            files.ReadLink: following,
            files.ReadDirectory: listing,
            files.Create: creating,
            files.MakeDirectory: looking,
            files.MakeSymlink: looking,
            files.MakeNode: looking,
            files.MakeLink: looking,
            files.Unlink: acting,
            files.RemoveDirectory: acting,
            files.Rename: acting,
            files.Open: opening,
            files.Read: reading,
            files.Write: counting,
            files.Flush: acting,
            files.FSync: acting,
            files.Sync: acting,
            files.Close: acting,
            files.Forget: acting,
            files.Allocate: acting,
            files.SeekTo: counting,
            files.GetXattr: fetching,
            files.SetXattr: acting,
            files.ListXattrs: naming,
            files.RemoveXattr: acting,
            files.SetLock: acting,
            files.TestLock: testing,
            files.GetFileSystem: measuring,
            files.Changes: waiting,
        },
    )
    detaching.lets(server, {files.Done: END, Failed: attached, files.NoSession: detached})
    acting.lets(server, {files.Done: attached, Failed: attached, files.NoSession: detached})
    looking.lets(server, {files.Attributed: attached, Failed: attached, files.NoSession: detached})
    following.lets(server, {files.Linked: attached, Failed: attached, files.NoSession: detached})
    listing.lets(server, {files.Listed: attached, Failed: attached, files.NoSession: detached})
    creating.lets(server, {files.Created: attached, Failed: attached, files.NoSession: detached})
    opening.lets(server, {files.Opened: attached, Failed: attached, files.NoSession: detached})
    reading.lets(server, {files.Data: attached, Failed: attached, files.NoSession: detached})
    counting.lets(server, {files.Number: attached, Failed: attached, files.NoSession: detached})
    fetching.lets(server, {files.Xattr: attached, Failed: attached, files.NoSession: detached})
    naming.lets(server, {files.XattrNames: attached, Failed: attached, files.NoSession: detached})
    testing.lets(server, {files.LockFound: attached, Failed: attached, files.NoSession: detached})
    measuring.lets(server, {files.FileSystem: attached, Failed: attached, files.NoSession: detached})
    waiting.lets(server, {files.Changed: attached, Failed: attached, files.NoSession: detached})


class Blocks(Protocol):
    """An end-to-end client and a store that cannot read what it keeps: one request and its answer.

    Every request stands for itself; leases alone last from one to the next, and they end with the link.
    """

    client = Role("has the keys")
    server = Role("has the bytes, and checks what it is given")

    asking = State("the client asks")
    reading_heads = State("the server reads heads")
    reading_records = State("the server reads records of a block")
    committing = State("the server checks a commit, and makes it durable or nothing of it")
    scanning = State("the server lists blocks")
    watching = State("the server waits until something happens")
    leasing = State("the server grants a lease, or tells who has it")
    measuring = State("the server measures its space")
    locking = State("the server locks a range of a file, or tells who has it")
    keeping = State("the server lists its snapshots, makes one or deletes one")
    digesting = State("the server tells the hashes of heads")
    remembering = State("the server answers as of a snapshot")
    marking = State("the server tells how far its store has come")

    asking.lets(
        client,
        {
            stores.ReadHeads: reading_heads,
            stores.ReadRecords: reading_records,
            stores.DoCommit: committing,
            stores.Scan: scanning,
            stores.Watch: watching,
            stores.DoLease: leasing,
            stores.GetStatus: measuring,
            stores.SetFileLock: locking,
            stores.TestFileLock: locking,
            stores.DropFileLocks: locking,
            stores.ListSnapshots: keeping,
            stores.CreateSnapshot: keeping,
            stores.DeleteSnapshot: keeping,
            stores.ReadDigests: digesting,
            stores.AskPast: remembering,
            stores.GetMark: marking,
        },
    )
    reading_heads.lets(server, {stores.Heads: END, Failed: END})
    reading_records.lets(server, {stores.GotRecords: END, Failed: END})
    committing.lets(server, {stores.CommitDone: END, Failed: END})
    scanning.lets(server, {stores.Scanned: END, Failed: END})
    watching.lets(server, {stores.Watched: END, Failed: END})
    leasing.lets(server, {stores.LeaseDone: END, Failed: END})
    measuring.lets(server, {stores.Status: END, Failed: END})
    locking.lets(server, {stores.FileLockDone: END, Failed: END})
    keeping.lets(server, {stores.Snapshotted: END, Failed: END})
    marking.lets(server, {stores.MarkShown: END, Failed: END})
    digesting.lets(server, {stores.Digested: END, Failed: END})
    remembering.lets(
        server,
        {
            stores.Heads: END,
            stores.GotRecords: END,
            stores.Scanned: END,
            stores.Status: END,
            stores.Digested: END,
            Failed: END,
        },
    )
