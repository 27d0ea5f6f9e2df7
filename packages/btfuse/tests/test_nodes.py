from __future__ import annotations

from btfuse._nodes import Nodes


def make() -> tuple[Nodes, list[int]]:
    forgotten: list[int] = []
    return Nodes(100, forgotten.append), forgotten


def test_the_kernels_first_node_is_the_root() -> None:
    nodes, _ = make()
    assert nodes.inode(1) == 100
    assert nodes.inode(7) == 7


def test_an_inode_is_forgotten_with_its_last_reference() -> None:
    nodes, forgotten = make()
    nodes.hold(7, 100, "a")
    nodes.hold(7, 100, "b")
    nodes.drop(7, 1)
    assert forgotten == []
    nodes.drop(7, 1)
    assert forgotten == [7]
    assert len(nodes) == 0


def test_a_path_follows_the_places() -> None:
    nodes, _ = make()
    nodes.hold(7, 100, "a")
    nodes.hold(8, 7, "b")
    assert nodes.path(8) == ("a", "b")
    assert nodes.describe(8) == "/a/b"
    assert nodes.describe(100) == "/"
    assert nodes.describe(9) == "inode 9"


def test_a_rename_moves_what_is_held() -> None:
    nodes, _ = make()
    nodes.hold(7, 100, "a")
    nodes.hold(8, 7, "b")
    nodes.move(7, 100, "c")
    nodes.move(9, 100, "unknown")
    assert nodes.path(8) == ("c", "b")
    assert len(nodes) == 2


def test_a_loop_of_places_ends() -> None:
    nodes, _ = make()
    nodes.hold(7, 8, "a")
    nodes.hold(8, 7, "b")
    assert nodes.path(7) == ("b", "a")
