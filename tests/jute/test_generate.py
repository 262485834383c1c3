"""The generator: its names, its text, and that the code it writes speaks the wire form."""

import random
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jute import JuteError, Record, SchemaError, generate, parse, wire
from jute.generate import snake_case

ZOO = """
module zoo {
    class Point { int x; int y; }
    class Empty { }
    class All {
        byte aByte; boolean aBool; int anInt; long aLong; float aFloat; double aDouble;
        ustring text; buffer raw; Point point;
        vector<int> ints; vector<ustring> texts; vector<buffer> raws; vector<Point> points;
        vector<vector<int>> rows; vector<vector<Point>> shapes; vector<map<int, Point>> maps;
        map<ustring, long> counts; map<int, vector<ustring>> lists; map<long, Point> places;
        int last;
    }
    class Tree { ustring name; vector<Tree> kids; Branch branch; }
    class Branch { map<ustring, Tree> trees; vector<vector<Tree>> forests; }
    class Odd { int class; ustring self; ustring buf; int at; ustring encode; long None; ustring read_int; }
}
"""


def load(schema: str) -> types.ModuleType:
    module = types.ModuleType("generated")
    exec(compile(generate(parse(schema), "Made for a test."), "generated", "exec"), module.__dict__)
    return module


zoo: Any = load(ZOO)


def sample() -> Any:
    p = zoo.Point
    return zoo.All(
        -1, True, 2, 3, 0.5, 0.25,
        "é", b"\0", p(1, 2),
        [1, 2], ["a", ""], [b"", b"z"], [p(3, 4)],
        [[1], None, []], [[p(5, 6)], None], [{7: p(8, 9)}, None],
        {"k": 1}, {2: ["x", "y"], 3: None}, {4: p(0, 0)},
        99,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("camel", "snake"),
    [
        ("sessionId", "session_id"),
        ("paths2Delete", "paths2_delete"),
        ("protocolVersion", "protocol_version"),
        ("parentCVersion", "parent_c_version"),
        ("dataLength", "data_length"),
        ("lastZxidSeen", "last_zxid_seen"),
        ("timeOut", "time_out"),
        ("czxid", "czxid"),
        ("ACL", "acl"),
        ("CreateTTLRequest", "create_ttl_request"),
        ("WhoAmIResponse", "who_am_i_response"),
        ("already_snake", "already_snake"),
    ],
)
def test_camel_case_turns_into_snake_case(camel: str, snake: str) -> None:
    assert snake_case(camel) == snake


def test_a_record_of_every_type_comes_back_equal() -> None:
    record = sample()
    raw = record.to_bytes()
    assert zoo.All.decode(raw) == (record, len(raw))
    assert zoo.All.decode(b"head" + raw + b"tail", 4) == (record, 4 + len(raw))
    assert zoo.All.from_bytes(memoryview(raw + b"tail")) == record


def test_a_record_of_every_type_has_the_expected_bytes() -> None:
    raw = sample().to_bytes()
    assert raw.startswith(bytes.fromhex("ff 01 00000002 0000000000000003 3f000000 3fd0000000000000 00000002c3a9"))
    assert raw.endswith(bytes.fromhex("00000001 0000000000000004 00000000 00000000 00000063"))


def test_a_record_cut_at_any_byte_is_refused() -> None:
    raw = sample().to_bytes()
    for size in range(len(raw)):
        with pytest.raises(JuteError, match=r"^(All|Point)\.\w+ at byte \d+: "):
            zoo.All.from_bytes(raw[:size])


def test_the_error_of_a_cut_run_names_the_first_field_not_whole() -> None:
    raw = sample().to_bytes()
    for size, name in [(0, "aByte"), (1, "aBool"), (5, "anInt"), (6, "aLong"), (14, "aFloat"), (25, "aDouble")]:
        with pytest.raises(JuteError, match=rf"^All\.{name} at byte"):
            zoo.All.from_bytes(raw[:size])


def test_an_empty_record_takes_no_bytes() -> None:
    assert zoo.Empty().to_bytes() == b""
    assert zoo.Empty.decode(b"abc", 1) == (zoo.Empty(), 1)
    assert repr(zoo.Empty()) == "Empty()"


def test_records_compare_and_print_by_their_fields() -> None:
    assert zoo.Point(1, 2) == zoo.Point(1, 2)
    assert zoo.Point(1, 2) != zoo.Point(1, 3)
    assert zoo.Point(1, 2) != (1, 2)
    assert repr(zoo.Point(1, 2)) == "Point(x=1, y=2)"
    with pytest.raises(TypeError):
        hash(zoo.Point(1, 2))


def test_the_bare_record_has_no_bytes_of_its_own() -> None:
    with pytest.raises(NotImplementedError):
        Record().to_bytes()


def test_names_python_needs_get_an_underscore() -> None:
    odd = zoo.Odd(1, "s", "b", 2, "e", 3, "r")
    assert (odd.class_, odd.self_, odd.buf_, odd.at_, odd.encode_, odd.none, odd.read_int_) == (
        1, "s", "b", 2, "e", 3, "r",
    )  # fmt: skip
    assert zoo.Odd.from_bytes(odd.to_bytes()) == odd


def nested(depth: int) -> bytes:
    """A Tree in a Tree, `depth` of them, as bytes: the encoder does not look at the depth."""
    raw = b""
    for level in range(depth):
        kids = b"\0\0\0\0" if level == 0 else b"\0\0\0\1" + raw
        raw = b"\0\0\0\0" + kids + b"\xff\xff\xff\xff" * 2
    return raw


def test_a_record_may_nest_up_to_the_limit_and_no_further() -> None:
    assert len(zoo.Tree.from_bytes(nested(wire.MAX_DEPTH - 1)).kids) == 1  # the innermost Branch is the last level
    for depth in (wire.MAX_DEPTH, 20_000):
        with pytest.raises(JuteError, match=f"nested more than {wire.MAX_DEPTH} deep"):
            zoo.Tree.from_bytes(nested(depth) if depth < 100 else b"\0\0\0\0\0\0\0\1" * depth)


def test_depth_is_counted_through_other_records_maps_and_inner_vectors() -> None:
    through_map = bytes.fromhex("00000000 00000000 00000001 00000000") * 10_000
    through_rows = bytes.fromhex("00000000 00000000 00000000 00000001 00000001") * 10_000
    for raw in (through_map, through_rows):
        with pytest.raises(JuteError, match="deep"):
            zoo.Tree.from_bytes(raw)


def test_a_recursive_record_comes_back_equal() -> None:
    none = zoo.Branch(None, None)
    leaf = zoo.Tree("leaf", None, none)
    tree = zoo.Tree("root", [leaf], zoo.Branch({"a": leaf}, [[leaf], [], None]))
    assert zoo.Tree.from_bytes(tree.to_bytes()) == tree


@given(st.binary(max_size=200))
def test_random_bytes_give_a_record_or_a_jute_error(raw: bytes) -> None:
    for kind in (zoo.All, zoo.Tree, zoo.Branch, zoo.Odd):
        try:
            record, end = kind.decode(raw)
        except JuteError:
            continue
        assert 0 < end <= len(raw)
        assert kind.decode(record.to_bytes())[0].to_bytes() == record.to_bytes()


def test_a_record_with_bytes_changed_gives_a_record_or_a_jute_error() -> None:
    dice = random.Random(1)
    raw = sample().to_bytes()
    for _ in range(2000):
        changed = bytearray(raw)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(raw))] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
        try:
            record, _ = zoo.All.decode(changed)
        except JuteError:
            continue
        assert type(record) is zoo.All


def test_a_run_of_fixed_width_fields_is_one_struct() -> None:
    text = generate(parse("module m { class R { int a; long b; ustring s; int c; boolean d; int e; } }"), "Doc.")
    assert '_R_A: Final = Struct(">iq")' in text
    assert '_R_C: Final = Struct(">i?i")' in text
    assert text.count("unpack_from") == text.count(".pack(") == 2


def test_the_same_schema_gives_the_same_text() -> None:
    assert generate(parse(ZOO), "Doc.") == generate(parse(ZOO), "Doc.")


def test_comments_reach_the_code() -> None:
    text = generate(parse('module m {\n// A \\ and """.\nclass R {\nint a; // why\n}\n}'), "Doc.")
    assert '    """A \\\\ and \'\'\'."""\n' in text
    assert "        self.a = a  # why\n" in text


def test_no_line_is_too_long_even_for_long_names() -> None:
    fields = "".join(f"int quiteALongNameForAField{i}; " for i in range(40))
    text = generate(parse(f"module m {{ class R {{ {fields} ustring s; vector<R> again; }} }}"), "Doc.")
    assert max(map(len, text.splitlines())) <= 120
    made: Any = types.ModuleType("generated")
    exec(text, made.__dict__)
    record = made.R(*range(40), "s", None)
    assert made.R.from_bytes(record.to_bytes()) == record
    with pytest.raises(JuteError, match=r"^R\.quiteALongNameForAField39 at byte 156: needs 4 bytes, 3 are left"):
        made.R.from_bytes(record.to_bytes()[:159])


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("module a { class R { int x; } }\nmodule b { class R { int x; } }", "line 2: two classes are named R"),
        ("module a { class Buffer { int x; } }", "line 1: a class cannot be named Buffer"),
        ("module a { class None { int x; } }", "line 1: a class cannot be named None"),
        ("module a {\nclass R { int aB;\nint a_b; } }", "line 3: two fields would be named R.a_b"),
    ],
)
def test_names_that_clash_in_python_are_refused(schema: str, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        generate(parse(schema), "Doc.")
    assert str(caught.value) == reason
