"""Domain separation: every label under which Blocktree hashes, signs, seals or derives, in one place.

A label goes before whatever is hashed or signed (`label ‖ message`), so that bytes made for one purpose never count for
another. Labels end in a NUL and contain no other, so none is the prefix of another. They are part of the formats: add
members, never change one; a new version of a format gets a new label.
"""

from __future__ import annotations

import enum
import hashlib


class Label(enum.Enum):
    """The purpose of a hash, signature, seal or derived key. `value` is the bytes that stand before the message."""

    PRINCIPAL = b"blocktree/1 principal\0"  #: hash of a public key set
    WRITECAP = b"blocktree/1 writecap\0"  #: signature of a writecap
    CHAIN = b"blocktree/1 chain\0"  #: id of a chain of writecaps
    RENEWED = b"blocktree/1 renewed\0"  #: serial of the writecap that follows one of a membership
    READCAP = b"blocktree/1 readcap\0"  #: seal of a block key
    COMMIT = b"blocktree/1 commit\0"  #: signature over the headers of one commit
    HEADER = b"blocktree/1 header\0"  #: digest of one header
    COMMIT_NODE = b"blocktree/1 commit node\0"  #: inner node of the tree over a commit's headers
    SECTOR = b"blocktree/1 sector\0"  #: associated data of a sealed sector
    ATTRIBUTES = b"blocktree/1 attributes\0"  #: associated data of sealed inode attributes
    LEAF = b"blocktree/1 leaf\0"  #: Merkle leaf: the hash of a stored sector
    NODE = b"blocktree/1 node\0"  #: Merkle node above the leaves
    WRITER = b"blocktree/1 writer\0"  #: id of a writer record
    GRANTS = b"blocktree/1 grants\0"  #: block id of a principal's grants
    DOMAIN = b"blocktree/1 domain\0"  #: block id of a domain record
    SCOPE = b"blocktree/1 scope\0"  #: block id of a scope record
    REVOKED = b"blocktree/1 revoked\0"  #: block id of a revocation list
    SNAPSHOT = b"blocktree/1 snapshot\0"  #: block id of a snapshot's record
    SNAPSHOT_HEADS = b"blocktree/1 snapshot heads\0"  #: digest of a stretch of the heads of a snapshot
    GROUP = b"blocktree/1 group\0"  #: block id of a group's membership
    GROUPS_OF = b"blocktree/1 groups of\0"  #: block id of the groups that a principal is in
    MEMBERSHIP = b"blocktree/1 membership\0"  #: signature of a group's membership, by the group's keys
    GROUP_SUCCESSION = b"blocktree/1 group succession\0"  #: signature by which a group's keys name the next ones
    GROUP_OPENING = b"blocktree/1 group opening\0"  #: seal of what opens for a group, to a member
    GROUP_SEED = b"blocktree/1 group seed\0"  #: seal of a group's seed, to a manager
    LINK_CLIENT = b"blocktree/1 link client\0"  #: signature of the connecting side of a link
    LINK_SERVER = b"blocktree/1 link server\0"  #: signature of the listening side of a link
    ENROLL_REQUEST = b"blocktree/1 enroll request\0"  #: signature of a request to join a domain
    ENROLL_RESPONSE = b"blocktree/1 enroll response\0"  #: signature of the answer to it
    ROTATION = b"blocktree/1 rotation\0"  #: signature of old keys that name their successor
    VIEW = b"blocktree/1 view\0"  #: signature of what a store shows to one client, and digest of a header in it
    CREDENTIALS = b"blocktree/1 credentials\0"  #: associated data of a sealed credential file
    CREDENTIALS_CHECK = b"blocktree/1 credentials check\0"  #: checksum of a credential file
    TPM_STORAGE = b"blocktree/1 tpm storage\0"  #: mark of the objects in a TPM
    SEED_SIGN = b"blocktree/1 seed sign\0"  #: signing key from a seed
    SEED_SEAL = b"blocktree/1 seed seal\0"  #: sealing key from a seed
    NAME_HASH = b"blocktree/1 name hash\0"  #: position of a name in a directory
    LOCK_NAME = b"blocktree/1 lock name\0"  #: what a file is called where its locks are kept
    LEASE_HOLDER = b"blocktree/1 lease holder\0"  #: a lease holder, bound to the principal that speaks for it
    ENDPOINTS = b"blocktree/1 endpoints\0"  #: block id of the endpoint records of a path
    ENDPOINT = b"blocktree/1 endpoint\0"  #: signature of an endpoint record
    SERVICE_NAME = b"blocktree/1 service name\0"  #: what a server of a domain is called in multicast DNS
    TOPIC = b"blocktree/1 topic\0"  #: id of a topic's path
    TOPIC_KEY = b"blocktree/1 topic key\0"  #: keys derived from a group key, one for each publisher's session
    TOPIC_KEY_ID = b"blocktree/1 topic key id\0"  #: id of a group key
    TOPIC_KEYS = b"blocktree/1 topic keys\0"  #: signature of who hands out a group key
    TOPIC_MESSAGE = b"blocktree/1 topic message\0"  #: signature of a sealed message on a topic
    PAIRING_KEYS = b"blocktree/1 pairing keys\0"  #: keys of an enrolment by code, from what both ends agreed on
    PAIRING_PROOF = b"blocktree/1 pairing proof\0"  #: proof that an end of an enrolment knew the code
    PAIRING_MESSAGE = b"blocktree/1 pairing message\0"  #: associated data of a sealed message of an enrolment


def tagged_hash(label: Label, *parts: bytes) -> bytes:
    """SHA-256 of the label and the parts, one after the other. The caller sees to it that the parts are unambiguous."""
    digest = hashlib.sha256(label.value)
    for part in parts:
        digest.update(part)
    return digest.digest()
