"""Times of the embedded store and of the block operations under it, for `docs/performance.md`.

    python packages/btfproto/tests/store/bench_store.py [DIRECTORY]     (a temporary store is made there)

Each line is the best of some rounds, in microseconds a unit: a block, a sector, a header, a call.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from btfproto.store import BlockChange, Commit, EmbeddedStore, HeadWant, RecordRef, RecordRun
from btlib import KeyPair
from btlib.block import (
    HOLE,
    Header,
    SectorCipher,
    SectorTree,
    VerifiedRoots,
    decode_signed_header,
    encode_signed_header,
    leaf_hash,
    sign_commit,
    verify_signed_header,
)

HEAD = os.urandom(700)
SECTOR = os.urandom(16_412)


def best(name: str, action: Callable[[], object], units: int, rounds: int = 5) -> None:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    print(f"{name:52} {min(times) / units * 1e6:9.2f} us")


def change(block: bytes, version: int, *runs: RecordRun) -> BlockChange:
    return BlockChange(block=block, expected=version - 1, version=version, signed=HEAD, runs=list(runs))


def commit(store: EmbeddedStore, *changes: BlockChange) -> None:
    store.commit(Commit(request=os.urandom(16), changes=list(changes)))


def bench_blocks() -> None:
    keys = KeyPair.generate()
    headers = [
        Header(block=os.urandom(16), scope=bytes(16), version=1, chain=bytes(32), written=0, attributes=bytes(100))
        for _ in range(2000)
    ]
    best("sign_commit of 2000 headers, a header", lambda: sign_commit(keys, headers), 2000)
    heads = [encode_signed_header(signed) for signed in sign_commit(keys, headers)]
    verified = VerifiedRoots()
    best(
        "decode and verify a head of a known commit",
        lambda: [verify_signed_header(decode_signed_header(head), keys.public, verified) for head in heads],
        2000,
    )
    cipher, plain, nonce = SectorCipher(bytes(32), bytes(16), 0), SECTOR[:16_384], bytes(12)
    stored = cipher.seal(0, plain, nonce)
    best("seal a sector of 16 KiB", lambda: [cipher.seal(i, plain, nonce) for i in range(500)], 500)
    buffer = memoryview(bytearray(500 * len(stored)))
    parts = [buffer[i * len(stored) : (i + 1) * len(stored)] for i in range(500)]
    best("the same into a used buffer", partial(seal_all, cipher, plain, parts), 500)
    best("open a sector of 16 KiB", lambda: [cipher.open(0, stored) for _ in range(500)], 500)
    best("hash a stored sector of 16 KiB", lambda: [leaf_hash(i, stored) for i in range(500)], 500)
    tree = SectorTree(HOLE, 0, lambda level, index: None)
    tree.apply(tree.update(dict.fromkeys(range(65536), SECTOR[:32]), 65_536))
    changes = dict.fromkeys(random.Random(1).sample(range(65536), 2000), SECTOR[32:64])
    best("tree of 1 GiB: 2000 random leaves, a leaf", lambda: tree.update(changes, 65_536), 2000)
    best("tree of 1 GiB: hash of a leaf", lambda: [tree.leaf(i) for i in range(1000)], 1000)


def seal_all(cipher: SectorCipher, plain: bytes, parts: list[memoryview]) -> None:
    nonce = bytes(12)
    for index, part in enumerate(parts):
        cipher.seal_into(index, plain, nonce, part)


def bench_small(store: EmbeddedStore) -> None:
    for size in (200, 4_096, 16_384):
        body = SECTOR[: size + 28]
        best(f"commit of 2000 new blocks of {size} bytes, a block", partial(commit_new, store, body, 2000), 2000)
    best("commits of one block of 4 KiB, one thread", partial(commit_one_by_one, store, 200), 200, 1)
    best("the same, 32 threads", partial(commit_in_threads, store, 32, 40), 32 * 40, 1)


def commit_new(store: EmbeddedStore, body: bytes, count: int) -> None:
    commit(store, *(change(os.urandom(16), 1, RecordRun(0, 0, [body])) for _ in range(count)))


def commit_one_by_one(store: EmbeddedStore, count: int) -> None:
    for _ in range(count):
        commit_new(store, SECTOR[:4_124], 1)


def commit_in_threads(store: EmbeddedStore, threads: int, count: int) -> None:
    running = [threading.Thread(target=commit_one_by_one, args=(store, count)) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def bench_large(store: EmbeddedStore) -> None:
    block, version = os.urandom(16), 0
    sectors = [memoryview(SECTOR)] * 2048

    def write(*runs: RecordRun) -> None:
        nonlocal version
        version += 1
        commit(store, change(block, version, *runs))

    for first in range(0, 32_768, 2048):
        write(RecordRun(0, first, list(sectors)))
    best("commit of 32 MiB in order, a sector", lambda: write(RecordRun(0, 0, list(sectors))), 2048)
    refs = [[RecordRef(0, i + k) for k in range(64)] for i in range(0, 32_768, 64)]
    best("read 64 records in a row, a call", lambda: [store.read_records(block, r) and None for r in refs[:32]], 32)
    chooser = random.Random(1)
    best(
        "commit of 2000 random sectors, a sector",
        lambda: write(*(RecordRun(0, i, [sectors[0]]) for i in sorted(chooser.sample(range(32_768), 2000)))),
        2000,
    )
    ones = [[RecordRef(0, chooser.randrange(32_768))] for _ in range(2000)]
    best("read one random record", lambda: [store.read_records(block, r) and None for r in ones], 2000)
    best("read a head, in memory", lambda: [store.read_heads([HeadWant(block)]) for _ in range(1000)], 1000)


def main() -> None:
    directory = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    store = EmbeddedStore(directory)
    try:
        bench_blocks()
        bench_small(store)
        bench_large(store)
    finally:
        store.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
