"""Where a path is served: signed endpoint records, in the tree and as this machine remembers them.

    resolve(path, records, now=…)      the longest prefix with a good record, and why others are not good
    publish_record(…)                  a server writes its own
    EndpointBook(file, root)           what a client has seen, and that nobody shows it something older

`docs/spec/endpoints.md` is the format. Nothing here connects; whoever answers at an endpoint has to prove itself.
"""

from ._book import BOOK_FILE, EndpointBook
from ._published import publish_record, read_published
from ._records import (
    MAX_ENDPOINTS,
    MAX_LIFETIME,
    MAX_SERVERS,
    EndpointRecord,
    RecordSet,
    SignedRecord,
    check_record,
    check_set,
    check_succession,
    endpoint_fault,
    endpoints_block,
    read_record,
    read_set,
    sign_record,
)
from ._resolve import Found, Known, Refused, Resolution, prefixes, resolve

__all__ = [
    "BOOK_FILE",
    "MAX_ENDPOINTS",
    "MAX_LIFETIME",
    "MAX_SERVERS",
    "EndpointBook",
    "EndpointRecord",
    "Found",
    "Known",
    "RecordSet",
    "Refused",
    "Resolution",
    "SignedRecord",
    "check_record",
    "check_set",
    "check_succession",
    "endpoint_fault",
    "endpoints_block",
    "prefixes",
    "publish_record",
    "read_published",
    "read_record",
    "read_set",
    "resolve",
    "sign_record",
]
