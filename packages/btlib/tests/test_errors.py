"""Errors say what is wrong and what to do next."""

from __future__ import annotations

import pytest
from btlib import BlocktreeError, CapabilityError, Kind, errors


def leaves() -> list[type[BlocktreeError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, BlocktreeError) and value is not BlocktreeError
    ]


def test_the_text_is_the_message_and_the_hint() -> None:
    error = CapabilityError("you may not", hint="ask an owner")
    assert str(error) == "you may not; ask an owner"
    assert (error.message, error.hint, error.kind) == ("you may not", "ask an owner", Kind.FORBIDDEN)
    assert str(CapabilityError("you may not")) == "you may not"


def test_a_kind_of_its_own_replaces_the_class_default() -> None:
    assert CapabilityError("expired", kind=Kind.EXPIRED).kind is Kind.EXPIRED
    assert BlocktreeError("defect").kind is Kind.INTERNAL


@pytest.mark.parametrize("leaf", leaves())
def test_every_leaf_has_a_kind_a_docstring_and_the_right_name(leaf: type[BlocktreeError]) -> None:
    assert leaf.__name__.endswith("Error")
    assert leaf.__doc__
    assert leaf("x").kind is not Kind.INTERNAL
