"""Bech32m (BIP-350): bytes as text that survives a shell and detects typing errors.

    text = prefix ‖ "1" ‖ data (5 bits a character) ‖ checksum (6 characters)

Any error in up to four characters is detected for certain. Only Bech32m is accepted, not the older Bech32.
"""

from __future__ import annotations

from collections.abc import Iterable

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARACTERS)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_SIZE = 6
_FINAL = 0x2BC830A3  # what sets Bech32m apart from Bech32

MAX_LENGTH = 90  #: the error detection is proven up to this many characters


def encode_bech32m(prefix: str, data: bytes) -> str:
    """The text of `data` under a lower-case prefix."""
    values = _regroup(data, 8, 5, pad=True)
    remainder = _checksum([*_expand(prefix), *values, *[0] * _CHECKSUM_SIZE]) ^ _FINAL
    check = [(remainder >> 5 * (_CHECKSUM_SIZE - 1 - i)) & 31 for i in range(_CHECKSUM_SIZE)]
    return f"{prefix}1" + "".join(_CHARACTERS[value] for value in (*values, *check))


def decode_bech32m(text: str) -> tuple[str, bytes]:
    """Prefix and data of a text. Raises ValueError with the reason."""
    prefix, values = decode_values(text)
    return prefix, bytes(_regroup(values, 5, 8, pad=False))


def decode_values(text: str) -> tuple[str, list[int]]:
    """Prefix and 5-bit values of a text, its checksum removed. Raises ValueError with the reason."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"it is longer than {MAX_LENGTH} characters")
    if not all(33 <= ord(character) <= 126 for character in text):
        raise ValueError("it contains a character that cannot occur")
    if text.lower() != text and text.upper() != text:
        raise ValueError("it mixes upper and lower case")
    prefix, separator, rest = text.lower().rpartition("1")
    if not separator or not prefix:
        raise ValueError("it has no prefix")
    if len(rest) < _CHECKSUM_SIZE:
        raise ValueError("it is too short")
    if not all(character in _VALUES for character in rest):
        raise ValueError("it contains a character that cannot occur")
    values = [_VALUES[character] for character in rest]
    if _checksum([*_expand(prefix), *values]) != _FINAL:
        raise ValueError("its checksum does not match: a character is wrong or missing")
    return prefix, values[:-_CHECKSUM_SIZE]


def _checksum(values: Iterable[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATOR):
            if top >> i & 1:
                state ^= generator
    return state


def _expand(prefix: str) -> list[int]:
    return [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]


def _regroup(values: Iterable[int], width: int, new_width: int, *, pad: bool) -> list[int]:
    """Cut a stream of bits anew. Raises ValueError on left-over bits that are not padding."""
    bits = size = 0
    out = []
    for value in values:
        bits, size = bits << width | value, size + width
        while size >= new_width:
            size -= new_width
            out.append(bits >> size)
            bits &= (1 << size) - 1
    if pad:
        return [*out, bits << (new_width - size)] if size else out
    if size >= width or bits:
        raise ValueError("its padding is not zero")
    return out
