"""The small numbers: opcodes, events, error codes, zxids. Their names are checked against kazoo, which users have."""

import kazoo.exceptions
import pytest
from kazoo.protocol import serialization
from kazoo.protocol.states import EVENT_TYPE_MAP
from kazoo.security import Permissions

from zkpy.proto import errors, events, opcodes, zxid


def test_opcodes_are_those_that_kazoo_sends() -> None:
    for ours, theirs in [
        (opcodes.CREATE, serialization.Create),
        (opcodes.DELETE, serialization.Delete),
        (opcodes.EXISTS, serialization.Exists),
        (opcodes.GET_DATA, serialization.GetData),
        (opcodes.SET_DATA, serialization.SetData),
        (opcodes.GET_ACL, serialization.GetACL),
        (opcodes.SET_ACL, serialization.SetACL),
        (opcodes.GET_CHILDREN, serialization.GetChildren),
        (opcodes.GET_CHILDREN2, serialization.GetChildren2),
        (opcodes.SYNC, serialization.Sync),
        (opcodes.CHECK, serialization.CheckVersion),
        (opcodes.MULTI, serialization.Transaction),
        (opcodes.CREATE2, serialization.Create2),
        (opcodes.RECONFIG, serialization.Reconfig),
        (opcodes.AUTH, serialization.Auth),
        (opcodes.PING, serialization.Ping),
        (opcodes.CLOSE_SESSION, serialization.Close),
    ]:
        assert ours == theirs.type


def test_every_opcode_has_a_name_and_every_name_an_opcode() -> None:
    constants = {name: value for name, value in vars(opcodes).items() if name.isupper() and isinstance(value, int)}
    for value, name in opcodes.NAMES.items():
        upper = "".join("_" + c if c.isupper() else c.upper() for c in name)
        spelled = {"GET_A_C_L": "GET_ACL", "SET_A_C_L": "SET_ACL", "CREATE_T_T_L": "CREATE_TTL"}.get(upper, upper)
        assert constants[spelled] == value
    assert len(opcodes.NAMES) == 33
    assert opcodes.name_of(opcodes.GET_DATA) == "getData"
    assert opcodes.name_of(99) == "unknown 99"


def test_permissions_are_bits_that_make_up_all() -> None:
    ours = [opcodes.PERM_READ, opcodes.PERM_WRITE, opcodes.PERM_CREATE, opcodes.PERM_DELETE, opcodes.PERM_ADMIN]
    names = ["READ", "WRITE", "CREATE", "DELETE", "ADMIN"]
    assert ours == [getattr(Permissions, name) for name in names]
    assert sum(ours) == opcodes.PERM_ALL == Permissions.ALL


def test_event_types_are_those_that_kazoo_knows() -> None:
    assert [EVENT_TYPE_MAP[number] for number in range(1, 5)] == ["CREATED", "DELETED", "CHANGED", "CHILD"]
    assert [events.EVENT_NAMES[number] for number in range(1, 5)] == [
        "NodeCreated",
        "NodeDeleted",
        "NodeDataChanged",
        "NodeChildrenChanged",
    ]
    assert (events.NODE_CREATED, events.NODE_DELETED) == (1, 2)
    assert (events.NODE_DATA_CHANGED, events.NODE_CHILDREN_CHANGED) == (3, 4)
    assert events.STATE_NAMES[events.SYNC_CONNECTED] == "SyncConnected"
    assert events.SYNC_CONNECTED == 3


def test_errors_have_the_codes_and_names_of_kazoo() -> None:
    theirs = dict(kazoo.exceptions.EXCEPTIONS)
    theirs.pop(errors.OK, None)
    assert {code: kind.__name__ for code, kind in errors.BY_CODE.items()} == {
        code: kind.__name__ for code, kind in theirs.items()
    }


def test_every_code_has_a_constant_a_name_and_a_class() -> None:
    assert set(errors.NAMES) == {errors.OK, *errors.BY_CODE}
    for code, name in errors.NAMES.items():
        assert getattr(errors, name) == code
    assert all(kind.code == code for code, kind in errors.BY_CODE.items())


def test_an_error_tells_its_code_and_path() -> None:
    error = errors.NoNodeError("/a")
    assert (error.code, error.path, str(error)) == (-101, "/a", "NONODE (-101) for /a")
    assert str(errors.AuthFailedError()) == "AUTHFAILED (-115)"


def test_an_error_can_be_made_from_its_code_even_an_unknown_one() -> None:
    assert type(errors.error_of(errors.NODEEXISTS, "/a")) is errors.NodeExistsError
    unknown = errors.error_of(-999, "/a")
    assert type(unknown) is errors.KeeperError
    assert (unknown.code, str(unknown)) == (-999, "unknown code (-999) for /a")
    assert errors.KeeperError.code == errors.OK


def test_a_protocol_error_is_not_an_answer() -> None:
    assert not issubclass(errors.ProtocolError, errors.KeeperError)


def test_a_zxid_is_an_epoch_and_a_counter() -> None:
    made = zxid.make_zxid(5, 7)
    assert made == 0x0000000500000007
    assert (zxid.epoch_of(made), zxid.counter_of(made)) == (5, 7)
    last = zxid.make_zxid(5, zxid.COUNTER_MAX)
    assert zxid.epoch_of(last) == 5
    assert last + 1 == zxid.make_zxid(6, 0)


def test_a_counter_too_large_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        zxid.make_zxid(1, zxid.COUNTER_MAX + 1)


def test_a_zxid_is_printed_in_hexadecimal() -> None:
    assert [zxid.zxid_text(each) for each in (0, 0xDF, 0x500000007, -1)] == [
        "0x0",
        "0xdf",
        "0x500000007",
        "0xffffffffffffffff",
    ]
