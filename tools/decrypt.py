#!/usr/bin/env python3
"""Decrypt an embedded Blocktree store offline, with nothing but this file, Python >= 3.11 and `cryptography` (>= 47).

    python3 decrypt.py STORE OUT --credentials FILE [--passphrase-file FILE]
    python3 decrypt.py STORE OUT --key BLOCK:KEY          (both in hexadecimal: a directory's block id and key)
    python3 decrypt.py STORE OUT --snapshot NAME …        (what a snapshot shows, instead of what is there now)

STORE is the directory with `index.sqlite` and `segments`; nothing in it is changed. OUT is a new directory. It follows
docs/spec (serde, principal, block, store, domain, filesystem) and shares no code with Blocktree, so it is a second
reading of those documents, and what one needs when nothing else is left.

Checked: the signature of each head by the writer it names, every hash of the Merkle trees, every seal, the form of
directories; of a snapshot, where credentials tell the domain, that all heads are those that its maker signed. Not
checked: whether a writer had the right to write (chains of capabilities), and rollback. Hard links become files of
their own; owners, extended attributes and special files are left out. Of what cannot be read whole, the part before the
damage is kept; each is told on standard error, and the exit code is 6. Other failures exit with 1.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import itertools
import os
import sqlite3
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FORMATS = (1, 2)  #: of the index; 1 has no snapshots
HOLE = bytes(32)
PUBLIC, REMOVED = 1, 2
FILE, DIRECTORY, SYMLINK = 0, 1, 2
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


#: Parts of the index, now and as of a snapshot (store, sections 4 and 9). An old head has no row in `heads`.
HEAD_NOW = "SELECT id, signed, NULL FROM heads WHERE block = :block"
HEAD_THEN = """
    SELECT id, signed, NULL FROM heads WHERE block = :block AND born <= :cursor
    UNION ALL SELECT 0, signed, record FROM old_heads WHERE block = :block AND born <= :cursor AND :cursor < died"""
HEADS_NOW = "SELECT block, version, removed, signed FROM heads ORDER BY block"
HEADS_THEN = """
    SELECT block, version, removed, signed FROM heads WHERE born <= :cursor
    UNION ALL SELECT block, version, removed, signed FROM old_heads WHERE born <= :cursor AND :cursor < died
    ORDER BY block"""
_RUN = """
    SELECT first, count, segment, offset, size, last FROM {} AND level = :level AND first <= :index
    ORDER BY first DESC LIMIT 1"""
RUN_NOW = _RUN.format("runs WHERE id = (SELECT id FROM heads WHERE block = :block)")
RUN_THEN = _RUN.format("runs WHERE id = (SELECT id FROM heads WHERE block = :block) AND born <= :cursor")
OLD_RUN = _RUN.format("old_runs WHERE block = :block AND born <= :cursor AND :cursor < died")


class Damaged(Exception):
    """Something that does not match what the specifications say."""


def label(name: str) -> bytes:
    return b"blocktree/1 " + name.encode() + b"\0"


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def derive(name: str, *parts: bytes) -> bytes:
    """The block id of a public record (block, section 2)."""
    return sha(label(name), *(len(part).to_bytes(4, "little") + part for part in parts))[:16]


class Reader:
    """Reads values of the canonical encoding (serde)."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Damaged("an encoding ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def length(self) -> int:
        first = self.number(1)
        if first == 255:
            raise Damaged("a length is malformed")
        return first if first < 253 else self.number(2 if first == 253 else 4)

    def text(self) -> bytes:
        """A byte string, or a text in UTF-8."""
        return self.take(self.length())

    def column(self, count: int) -> list[bytes]:
        """The column of `count` byte strings or texts: all lengths, then all contents."""
        lengths = [self.length() for _ in range(count)]
        return [self.take(length) for length in lengths]

    def end(self) -> None:
        if self.at != len(self.data):
            raise Damaged("an encoding has bytes behind its end")


@dataclass(frozen=True)
class KeySet:
    """Public keys (principal, section 2)."""

    suite: int
    signing: bytes
    sealing: bytes

    @property
    def digest(self) -> bytes:
        keys = (bytes([len(key)]) + key for key in (self.signing, self.sealing))
        return sha(label("principal"), bytes([self.suite]), *keys)

    def verify(self, message: bytes, signature: bytes) -> None:
        try:
            if self.suite == 1:
                ed25519.Ed25519PublicKey.from_public_bytes(self.signing).verify(signature, message)
                return
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            if len(signature) != 64 or not 0 < s <= P256_ORDER // 2:
                raise InvalidSignature
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.signing)
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            raise Damaged("the signature of a head is wrong") from None


def read_keys(reader: Reader) -> KeySet:
    return KeySet(reader.number(1), reader.text(), reader.text())


def read_caps(reader: Reader) -> list[KeySet]:
    """A chain (capabilities, section 2), of which only the issuers are wanted here."""
    count = reader.length()
    suites, signing, sealing = reader.take(count), reader.column(count), reader.column(count)
    reader.take(32 * count)  # subjects
    reader.column(count)  # paths
    reader.take((16 + 1 + 8 + 8 + 1 + 16) * count)  # scope, rights, not_before, not_after, may_delegate, serial
    reader.column(count)  # signatures
    return [KeySet(*keys) for keys in zip(suites, signing, sealing, strict=True)]


@dataclass(frozen=True)
class Header:
    """A header (block, section 6), with the row of its block in the index, and the small record of an old one."""

    row: int
    small: bytes | None
    flags: int
    block: bytes
    scope: bytes
    version: int
    epoch: int
    bits: int
    count: int
    root: bytes
    writer: bytes
    attributes: bytes


def read_header(row: int, small: bytes | None, data: bytes) -> Header:
    reader = Reader(data)
    if reader.number(1) != 1:
        raise Damaged("a header has an unknown format")
    flags, block, scope, version = reader.number(1), reader.take(16), reader.take(16), reader.number(8)
    epoch, bits, count = reader.number(4), reader.number(1), reader.number(8)
    root, writer, _written, attributes = reader.take(32), reader.take(32), reader.number(8), reader.text()
    reader.end()
    return Header(row, small, flags, block, scope, version, epoch, bits, count, root, writer, attributes)


def commit_root(digest: bytes, index: int, count: int, siblings: bytes) -> bytes:
    """Fold a header's digest up to its commit's root (block, section 8)."""
    if index >= count or count > 65_536:
        raise Damaged("a head has an impossible proof")
    rest = Reader(siblings)
    while count > 1:
        if index % 2:
            digest = sha(label("commit node"), rest.take(32), digest)
        elif index + 1 < count:
            digest = sha(label("commit node"), digest, rest.take(32))
        index, count = index // 2, (count + 1) // 2
    rest.end()
    return digest


class Store:
    """The files of an embedded store (store, sections 2 to 4), read only; as of a snapshot, if one is named."""

    def __init__(self, directory: Path, snapshot: str | None = None) -> None:
        self.directory = directory
        self.db = sqlite3.connect(f"{(directory / 'index.sqlite').absolute().as_uri()}?mode=ro", uri=True)
        self.writers: dict[bytes, KeySet] = {}
        self.snapshot = snapshot
        (found,) = self.db.execute("SELECT format FROM state").fetchone()
        if found not in FORMATS:
            raise Damaged(f"the index has format {found}, which is not known here")
        self.cursor = -1 if snapshot is None else self._cursor_of(snapshot, found)
        now = snapshot is None
        self._head, self._heads = (HEAD_NOW, HEADS_NOW) if now else (HEAD_THEN, HEADS_THEN)
        self._runs = [RUN_NOW] if now else [RUN_THEN, OLD_RUN]

    def _cursor_of(self, snapshot: str, index_format: int) -> int:
        rows = self.db.execute("SELECT name, cursor FROM snapshots") if index_format > 1 else ()
        cursors: dict[str, int] = dict(rows)
        if snapshot not in cursors:
            there = ", ".join(repr(name) for name in sorted(cursors)) or "none"
            raise Damaged(f"there is no snapshot {snapshot!r}; there are: {there}")
        return cursors[snapshot]

    def record(self, header: Header, level: int, index: int) -> bytes | None:
        if not level and not index:
            row = self.db.execute("SELECT record FROM smalls WHERE id = ?", (header.row,)).fetchone()
            small = header.small if row is None else bytes(row[0])
            if small is not None:
                return small
        values = {"block": header.block, "level": level, "index": index, "cursor": self.cursor}
        for statement in self._runs:
            run = self.db.execute(statement, values).fetchone()
            if run is not None and index < run[0] + run[1]:
                return self._read(index - run[0], *run[1:])
        return None

    def _read(self, at: int, count: int, segment: int, offset: int, size: int, last: int) -> bytes | None:
        try:
            with (self.directory / "segments" / f"{segment:08}.seg").open("rb") as file:
                file.seek(offset + at * size)
                return file.read(last if at == count - 1 else size)
        except FileNotFoundError:
            return None

    def _row(self, block: bytes) -> tuple[int, bytes, bytes | None] | None:
        found = self.db.execute(self._head, {"block": block, "cursor": self.cursor}).fetchone()
        return None if found is None else (found[0], bytes(found[1]), found[2])

    def head(self, block: bytes) -> Header | None:
        """The verified header of a block."""
        found = self._row(block)
        if found is None:
            return None
        row, content, small = found
        signed = Reader(content)
        raw, index, count = signed.text(), signed.number(4), signed.number(4)
        siblings, signature = signed.text(), signed.text()
        signed.end()
        header = read_header(row, small, raw)
        if header.block != block:
            raise Damaged(f"the head of block {block.hex()} is that of another block")
        root = commit_root(sha(label("header"), raw), index, count, siblings)
        self.writer(header.writer).verify(label("commit") + count.to_bytes(4, "little") + root, signature)
        return header

    def writer(self, identity: bytes) -> KeySet:
        """Who wrote a head; the record proves itself by its hash (block, section 7)."""
        if identity not in self.writers:
            found = self._row(identity[:16])
            if found is None:
                raise Damaged(f"the writer record {identity.hex()} is missing")
            row, signed, small = found
            content = self.content(read_header(row, small, Reader(signed).text()))
            if sha(label("writer"), content) != identity:
                raise Damaged(f"the writer record {identity.hex()} is damaged")
            reader = Reader(content)
            read_caps(reader)
            self.writers[identity] = read_keys(reader)
        return self.writers[identity]

    def content(self, header: Header) -> bytes:
        """The content of a public block."""
        if not header.flags & PUBLIC or header.count > 256:
            raise Damaged(f"block {header.block.hex()} is no public record")
        return b"".join(stored for _, stored in self.sectors(header))

    def sectors(self, header: Header) -> Iterator[tuple[int, bytes]]:
        """All stored sectors that are no holes, each checked against the tree (block, section 5)."""
        height = 0
        while 256**height < header.count:
            height += 1
        yield from self._below(header, height, 0, header.root)

    def _below(self, header: Header, level: int, index: int, expected: bytes) -> Iterator[tuple[int, bytes]]:
        if expected == HOLE:
            return
        stored = self.record(header, level, index)
        place = index.to_bytes(8, "little")
        prefix = label("node") + bytes([level]) + place if level else label("leaf") + place
        if stored is None or sha(prefix, stored) != expected:
            raise Damaged(f"record {level}/{index} of block {header.block.hex()} is missing or damaged")
        if not level:
            yield index, stored
            return
        for slot in range(len(stored) // 32):
            yield from self._below(header, level - 1, index * 256 + slot, stored[slot * 32 : slot * 32 + 32])

    def heads(self) -> Iterator[tuple[bytes, int, bool, bytes]]:
        """Block, version, whether it is removed, and the signed header of each, unverified, in order."""
        for block, version, removed, signed in self.db.execute(self._heads, {"cursor": self.cursor}):
            yield bytes(block), version, bool(removed), bytes(signed)

    def public_blocks(self) -> Iterator[Header]:
        for _, _, removed, signed in self.heads():
            header = read_header(0, None, Reader(signed).text())
            if header.flags == PUBLIC and not removed:
                yield header


def doubts(store: Store, root: bytes) -> Iterator[str]:
    """In which heads the snapshot is not what its maker signed (domain, section 8)."""
    now = Store(store.directory)
    domain, header = now.head(derive("domain", root)), now.head(derive("snapshot", root, str(store.snapshot).encode()))
    if domain is None or header is None:
        yield f"nobody signed the snapshot {store.snapshot!r}"
        return
    reader = Reader(now.content(header))
    form, name, cursor = reader.number(1), reader.text(), reader.number(8)
    reader.take(8)  # taken
    length, count = reader.number(4), reader.length()
    firsts = [reader.take(16) for _ in range(count)]
    digests = [reader.take(32) for _ in range(count)]
    reader.end()
    if (form, name.decode(), cursor) != (1, store.snapshot, store.cursor) or header.scope != now.content(domain)[-16:]:
        yield f"nobody signed what the store has as the snapshot {store.snapshot!r}"
        return
    heads = [
        (block, block + version.to_bytes(8, "little") + sha(signed)) for block, version, _, signed in store.heads()
    ]
    for at in range(max(count, -(-len(heads) // length))):
        part = heads[at * length : (at + 1) * length]
        expected = (firsts[at], digests[at]) if at < count else None
        found = (part[0][0], sha(label("snapshot heads"), *(line for _, line in part))) if part else None
        if found != expected:
            yield f"the snapshot {store.snapshot!r} has other heads than its maker signed, in stretch {at} of {count}"


@dataclass(frozen=True)
class Place:
    """A directory entry: what leads to a block."""

    kind: int
    block: bytes
    key: bytes


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
    except (InvalidTag, ValueError):
        raise Damaged("a sealed text does not open") from None


@dataclass(frozen=True)
class Attributes:
    """What is used of an inode's attributes (filesystem, section 2)."""

    kind: int
    mode: int
    size: int
    modified: int
    target: str


class Decryptor:
    """Writes what a directory leads to as plain files."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failures = 0
        self._entered: set[bytes] = set()

    def copy(self, place: Place, out: Path) -> None:
        """Something of the tree and all below it. Failures are told, and end nothing else."""
        try:
            header = self.store.head(place.block)
            if header is None or header.flags:
                raise Damaged("its block is missing, removed or public")
            attributes = self._attributes(header, place)
            if attributes.kind == DIRECTORY:
                if place.block in self._entered:
                    raise Damaged("this directory stands in two places")
                self._entered.add(place.block)
                out.mkdir(mode=0o700)
                for name, below in self._entries(header, place.key):
                    self.copy(below, out / name)
            elif attributes.kind == FILE:
                self._write_file(header, place.key, attributes, out)
            elif attributes.kind == SYMLINK:
                out.symlink_to(attributes.target)
            if attributes.kind in (FILE, DIRECTORY):
                out.chmod(attributes.mode & 0o777)
                os.utime(out, ns=(attributes.modified, attributes.modified))
        except (Damaged, OSError) as error:
            self.failures += 1
            print(f"{str(out)!a}: {error}", file=sys.stderr)

    def _attributes(self, header: Header, place: Place) -> Attributes:
        bound = place.block + header.epoch.to_bytes(4, "little") + header.version.to_bytes(8, "little")
        reader = Reader(unseal(place.key, header.attributes, label("attributes") + bound))
        if reader.number(1) != 1:
            raise Damaged("its attributes have an unknown format")
        kind, mode = reader.number(1), reader.number(2)
        reader.take(4 + 4 + 4 + 8)  # uid, gid, links, device
        size, _stored, _accessed, modified = (reader.number(8) for _ in range(4))
        reader.take(8)  # changed
        for _ in range(reader.length()):
            reader.text(), reader.text()  # extended attributes
        target = reader.text().decode()
        reader.take(8)  # entries
        reader.take(4 * reader.length())  # free
        reader.end()
        if kind != place.kind:
            raise Damaged("it is of another kind than its directory says")
        return Attributes(kind, mode, size, modified - (modified >> 63 << 64), target)

    def _sectors(self, header: Header, key: bytes) -> Iterator[tuple[int, bytes]]:
        bound = label("sector") + header.block + header.epoch.to_bytes(4, "little")
        for index, stored in self.store.sectors(header):
            yield index, unseal(key, stored, bound + index.to_bytes(8, "little"))

    def _write_file(self, header: Header, key: bytes, attributes: Attributes, out: Path) -> None:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(attributes.size)
            for index, plain in self._sectors(header, key):
                if (index << header.bits) + len(plain) > attributes.size:
                    raise Damaged("a sector reaches beyond the end of the file")
                file.seek(index << header.bits)
                file.write(plain)

    def _entries(self, header: Header, key: bytes) -> Iterator[tuple[str, Place]]:
        """All entries, by the directory's B+tree (filesystem, section 4)."""
        if not header.count:
            return
        nodes = dict(self._sectors(header, key))
        hasher = hashlib.blake2b(label("name hash"), key=key, digest_size=32).digest()
        yield from _walk(nodes, hasher, 0, None, 0, 1 << 63)


def _walk(
    nodes: dict[int, bytes], hasher: bytes, sector: int, level: int | None, low: int, high: int
) -> Iterator[tuple[str, Place]]:
    reader = Reader(nodes.pop(sector, b""))  # taken out: a node that stands twice is missing the second time
    version, found, count = reader.number(1), reader.number(1), reader.number(2)
    if version != 1 or not count or found > 6 or level not in (None, found):
        raise Damaged(f"the directory's node {sector} is malformed")
    if found:
        children = [reader.number(4) for _ in range(count)]
        bounds = [low, *(reader.number(8) for _ in range(count - 1)), high]
        if any(left >= right for left, right in itertools.pairwise(bounds)):
            raise Damaged(f"the directory's node {sector} has separators out of order")
        for child, (left, right) in zip(children, itertools.pairwise(bounds), strict=True):
            yield from _walk(nodes, hasher, child, found - 1, left, right)
    else:
        for _ in range(count):
            ordinal, kind, block, key = reader.number(1), reader.number(1), reader.take(16), reader.take(32)
            raw = reader.take(reader.number(1))
            number = int.from_bytes(hashlib.blake2b(raw, key=hasher, digest_size=8).digest(), "little") >> 6 or 1
            place = number * 32 + ordinal
            if not low <= place < high or raw in (b"", b".", b"..") or b"/" in raw or b"\0" in raw or ordinal > 31:
                raise Damaged(f"the directory's node {sector} has an entry that cannot stand there")
            low = place + 1
            yield raw.decode(), Place(kind, block, key)
    reader.end()


class Opener:
    """The sealing key of a credential file (principal, sections 7 and 8), and the root it belongs to."""

    def __init__(self, content: bytes, passphrase: str) -> None:
        body = content[:-32]
        if not body.startswith(b"blocktree-keys/1") or sha(label("credentials check"), body) != content[-32:]:
            raise Damaged("the credential file is damaged")
        raw = body[18 : 18 + int.from_bytes(body[16:18], "little")]
        header = Reader(raw)
        memory, iterations, lanes = (header.number(4) for _ in range(3))
        salt, nonce, self.public = header.take(16), header.take(12), read_keys(header)
        header.end()
        kdf = Argon2id(salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory)
        secret = kdf.derive(unicodedata.normalize("NFKC", passphrase).encode())
        inner = Reader(unseal(secret, nonce + body[18 + len(raw) :], label("credentials") + raw))
        self.suite, seed = inner.number(1), inner.take(32)
        issuers = read_caps(inner) if inner.length() else []
        self.root = (issuers or [self.public])[0].digest
        info = label("seed seal") + bytes([self.suite])
        self._material = HKDF(algorithm=SHA256(), length=48, salt=None, info=info).derive(seed)

    def open(self, info: bytes, sealed: bytes) -> bytes:
        try:
            if self.suite == 1:
                key = x25519.X25519PrivateKey.from_private_bytes(self._material[:32])
                return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM).decrypt(sealed, key, info)
            scalar = int.from_bytes(self._material, "big") % (P256_ORDER - 1) + 1
            point = ec.derive_private_key(scalar, ec.SECP256R1())
            return Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM).decrypt(sealed, point, info)
        except (InvalidTag, ValueError):
            raise Damaged("a readcap does not open") from None


def find_directory(store: Store, opener: Opener) -> Place:
    """The highest directory that was granted (domain, sections 4 and 6; capabilities, section 6)."""
    domain = store.head(derive("domain", opener.root))
    if domain is None:
        raise Damaged("the store holds no domain of the root that these credentials belong to")
    found: list[tuple[int, int, Place]] = []
    me = opener.public.digest
    for unverified in store.public_blocks():
        if unverified.block != derive("grants", unverified.scope, me):
            continue
        header = store.head(unverified.block)
        reader = Reader(store.content(header) if header is not None else b"")
        if reader.number(1) != 1 or reader.take(32) != me:
            raise Damaged("a grants record is malformed")
        count = reader.length()
        reader.take(32 * count)  # subjects
        blocks = [reader.take(16) for _ in range(count)]
        epochs = [reader.take(4) for _ in range(count)]
        for block, epoch, sealed in zip(blocks, epochs, reader.column(count), strict=True):
            plain = opener.open(label("readcap") + me + block + epoch, sealed)
            depth = Reader(plain[32:]).text().count(b"/")
            found.append((depth, -int.from_bytes(epoch, "little"), Place(DIRECTORY, block, plain[:32])))
    if not found:
        raise Damaged("nothing in this store was granted to these credentials")
    return min(found, key=lambda one: one[:2])[2]


def passphrase(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").split("\n")[0]
    return os.environ.get("BLOCKTREE_PASSPHRASE") or getpass.getpass("passphrase: ")


def main() -> int:
    parser = argparse.ArgumentParser(description="Decrypt an embedded Blocktree store offline.")
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--credentials", type=Path, metavar="FILE")
    which.add_argument("--key", metavar="BLOCK:KEY")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE")
    parser.add_argument("--snapshot", metavar="NAME", help="decrypt what this snapshot shows")
    words = parser.parse_args()
    try:
        store = Store(words.store, words.snapshot)
        doubted: list[str] = []
        if words.key is not None:
            block, key = map(bytes.fromhex, words.key.split(":"))
            place = Place(DIRECTORY, block, key)
        else:
            opener = Opener(words.credentials.read_bytes(), passphrase(words.passphrase_file))
            doubted = list(doubts(store, opener.root)) if words.snapshot is not None else []
            for doubt in doubted:
                print(f"decrypt.py: {doubt}", file=sys.stderr)
            place = find_directory(store, opener)
        decryptor = Decryptor(store)
        decryptor.copy(place, words.out)
    except (Damaged, OSError, ValueError, sqlite3.Error) as error:
        print(f"decrypt.py: {error}", file=sys.stderr)
        return 1
    return 6 if decryptor.failures or doubted else 0


if __name__ == "__main__":
    sys.exit(main())
