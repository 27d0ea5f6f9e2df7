"""The schema hash: 64 bits by which two ends find out that they mean the same bytes.

It is taken over a text that describes the type: every width, order, name of a field, number of an enum's member and
tag. Names of classes are left out, and so is what only concerns Python (list or tuple, Struct or dataclass,
copied or in place).
"""

from __future__ import annotations

import hashlib

from . import _schema as schema
from ._schema import Node

FORMAT = "btserde 1"


def node_hash(node: Node) -> int:
    """First eight bytes, big-endian, of the SHA-256 of the description."""
    digest = hashlib.sha256(f"{FORMAT}\n{describe(node)}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def describe(node: Node, open_structs: tuple[schema.Struct, ...] = ()) -> str:
    """The canonical text of a type; `^k` stands for the k-th struct outwards."""
    match node:
        case schema.Int(bits, signed):
            return f"{'i' if signed else 'u'}{bits}"
        case schema.Float():
            return "f64"
        case schema.Closed() if node is schema.BOOL:
            return "bool"
        case schema.Closed(_, members):
            return "enum{" + ",".join(f"{n}:{m.name}" for n, m in sorted(members.items())) + "}"
        case schema.FixedBytes(size):
            return f"bytes[{size}]"
        case schema.Bytes():
            return "bytes"
        case schema.Text():
            return "str"
        case schema.Optional(item):
            return f"{describe(item, open_structs)}?"
        case schema.List(item, _):
            return f"list[{describe(item, open_structs)}]"
        case schema.Set(item, _):
            return f"set[{describe(item, open_structs)}]"
        case schema.Dict(key, value):
            return f"dict[{describe(key, open_structs)},{describe(value, open_structs)}]"
        case schema.Union(members):
            inner = (
                describe(members[tag], open_structs) for tag in sorted(members, key=lambda tag: (str(type(tag)), tag))
            )
            return "union{" + "|".join(inner) + "}"
        case schema.Struct():
            return _struct(node, open_structs)


def _struct(node: schema.Struct, open_structs: tuple[schema.Struct, ...]) -> str:
    if node in open_structs:
        return f"^{len(open_structs) - open_structs.index(node)}"
    open_structs = (*open_structs, node)
    if node.is_tuple:
        return "(" + ",".join(describe(field.node, open_structs) for field in node.fields) + ")"
    fields = ",".join(f"{field.name}:{describe(field.node, open_structs)}" for field in node.fields)
    tag = "" if node.tag is None else f"#{node.tag!r}"
    return f"struct{tag}{{{fields}}}"
