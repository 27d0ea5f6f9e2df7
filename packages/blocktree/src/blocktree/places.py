"""Where a path of a domain lies, as the public records speak of it: the directories on the way, by their blocks."""

from __future__ import annotations

from btfproto.domain import DomainReader, Place, survey_records
from btfproto.localfs import LocalFs
from btlib.home import Domain
from btlib.paths import BlockPath
from btlib.principals import Principal

from .files.keys import keys_below, read_key
from .files.tree import Tree
from .session import Session


def places_above(tree: Tree, provider: LocalFs, path: BlockPath) -> list[Place]:
    """From the highest directory that this machine may read down to the path, as far as that exists."""
    places = []
    for depth in range(len(tree.anchor.names), len(path.names) + 1):
        place = BlockPath(path.root, path.names[:depth])
        found = tree.maybe_find(place)
        if found is None:
            break
        stored = provider.inode_of(found.inode).store
        places.append(Place(path=place, block=stored.block, key_epoch=stored.key_epoch, scope=stored.scope))
    return places


def readable_places(session: Session, domain: Domain, principal: Principal) -> list[BlockPath]:
    """The directories that somebody was granted a readcap for, as far as this machine sees; none below another."""
    with session.attach_local(domain, [domain.root_path]) as (tree, provider, store):
        survey = survey_records(DomainReader(store, domain.root))
        granted = [found.grants for found in survey.grants if found.grants.principal == principal]
        blocks = {readcap.block for grants in granted for readcap in grants.readcaps}
        anchor = tree.directory(tree.anchor)
        keys = [read_key(provider, anchor, tree.anchor)]
        if blocks - {keys[0].block}:
            keys += keys_below(tree, provider, anchor, tree.anchor)
        found = sorted((key.path for key in keys if key.block in blocks), key=lambda path: len(path.names))
    return [path for at, path in enumerate(found) if not any(above.is_prefix_of(path) for above in found[:at])]
