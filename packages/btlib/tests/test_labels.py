"""Labels keep what is made for one purpose from counting for another."""

from __future__ import annotations

import hashlib
from itertools import permutations

from btlib.labels import Label, tagged_hash


def test_labels_are_distinct_and_none_is_the_prefix_of_another() -> None:
    values = [label.value for label in Label]
    assert len(set(values)) == len(values) == len(Label.__members__)
    assert [pair for pair in permutations(values, 2) if pair[0].startswith(pair[1])] == []


def test_every_label_names_project_and_version_and_ends_in_its_only_nul() -> None:
    for label in Label:
        assert label.value.startswith(b"blocktree/1 ")
        assert label.value.index(b"\0") == len(label.value) - 1
        assert label.value.isascii()


def test_a_tagged_hash_is_the_hash_of_label_and_parts() -> None:
    assert tagged_hash(Label.LEAF, b"a", b"bc") == hashlib.sha256(b"blocktree/1 leaf\0abc").digest()
    assert tagged_hash(Label.LEAF, b"x") != tagged_hash(Label.NODE, b"x")
