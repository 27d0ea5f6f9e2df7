"""Making the root directory of a domain: the one directory that no `LocalFs` makes."""

from __future__ import annotations

import os
from collections.abc import Callable

from btlib.block import NONCE_SIZE, SectorCipher

from ..provider import FileKind, Owner
from ._attributes import SealedAttributes, encode_attributes

ROOT = Owner(0, 0)


def empty_directory_attributes(
    block: bytes,
    key: bytes,
    now: int,
    *,
    owner: Owner = ROOT,
    mode: int = 0o755,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The sealed attributes of an empty directory's first version (key epoch 0). `now`: unix seconds.

    An empty directory has no sectors, so these are all that its header needs besides. Fits the
    `directory_attributes` argument of `btfproto.domain.create_domain`.
    """
    moment = now * 10**9
    attributes = SealedAttributes(
        kind=FileKind.DIRECTORY,
        mode=mode,
        uid=owner.uid,
        gid=owner.gid,
        links=2,
        device=0,
        size=0,
        stored=0,
        accessed=moment,
        modified=moment,
        changed=moment,
        xattrs={},
        target="",
        entries=0,
        free=[],
    )
    return SectorCipher(key, block, 0).seal_attributes(1, encode_attributes(attributes), random(NONCE_SIZE))
