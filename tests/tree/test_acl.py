"""Interned ACLs: equal means identical, and what nobody uses goes away."""

import gc

from zkpy.proto.opcodes import PERM_ALL, PERM_READ, PERM_WRITE
from zkpy.proto.records import ACL, Id
from zkpy.tree.acl import OPEN, READ_ONLY, Acl, from_key, intern, interned


def entries(*triples: tuple[int, str, str]) -> list[ACL]:
    return [ACL(perms, Id(scheme, id_)) for perms, scheme, id_ in triples]


def test_equal_lists_are_one_object() -> None:
    first = intern(entries((1, "digest", "a:b"), (2, "ip", "1.2.3.4")))
    assert intern(entries((1, "digest", "a:b"), (2, "ip", "1.2.3.4"))) is first
    assert intern(first) is first
    assert intern(entries((2, "ip", "1.2.3.4"), (1, "digest", "a:b"))) is not first, "order tells"
    assert intern(entries((PERM_ALL, "world", "anyone"))) is OPEN


def test_acl_is_the_list_of_its_entries() -> None:
    acl = intern(entries((1, "digest", "a:b")))
    assert acl == entries((1, "digest", "a:b"))
    assert acl.key == ((1, "digest", "a:b"),)
    assert from_key(acl.key) is acl


def test_world_is_what_everybody_may() -> None:
    assert OPEN.world == PERM_ALL
    assert READ_ONLY.world == PERM_READ
    assert intern(entries((1, "digest", "a:b"))).world == 0
    both = intern(entries((PERM_READ, "world", "anyone"), (PERM_WRITE, "world", "anyone"), (4, "ip", "1.2.3.4")))
    assert both.world == PERM_READ | PERM_WRITE
    assert intern(entries((PERM_READ, "world", "somebody"))).world == 0


def test_empty_acl_denies_nothing() -> None:
    assert intern([]).world & PERM_ALL == PERM_ALL


def test_null_scheme_and_id_can_be_told_apart_from_empty_ones() -> None:
    null = from_key([(1, None, None)])
    assert null is not from_key([(1, "", "")])
    assert null.world == 0


def test_acl_that_nobody_uses_is_forgotten() -> None:
    key = ((1, "digest", "gone:soon"),)
    acl = from_key(key)
    assert acl in interned()
    del acl
    gc.collect()
    assert all(other.key != key for other in interned())


def test_acl_can_be_a_key() -> None:
    table: dict[Acl, int] = {OPEN: 1, READ_ONLY: 2}
    assert table[intern(entries((PERM_ALL, "world", "anyone")))] == 1
