"""Schema text: what is understood, and the line and reason for what is not."""

import pytest

from jute import SchemaError, parse
from jute.schema import MAX_TYPE_DEPTH, Map, Primitive, Ref, Vector, least_size, records_by_name

SHOP = """\
// Not about a class.

module org.example.shop {
    /* What was bought,
     * and by whom. */
    class Order {
        long id;
        ustring buyer;   // who
        vector<Line>lines; /* what */
        map<ustring, vector<org.example.other.Note>> notes;
    }
    // Far away.

    // One line.
    // Or two.
    class Line { int amount; boolean gift; byte b; float f; double d; buffer raw; }
    class Empty {
    }
}
module org.example.other { class Note { ustring text; } }
"""


def test_modules_classes_and_fields_come_in_order() -> None:
    modules = parse(SHOP)
    assert [module.name for module in modules] == ["org.example.shop", "org.example.other"]
    assert [record.name for record in modules[0].records] == ["Order", "Line", "Empty"]
    order, line, empty = modules[0].records
    assert [field.name for field in order.fields] == ["id", "buyer", "lines", "notes"]
    assert [field.type for field in line.fields] == [
        Primitive(name) for name in ("int", "boolean", "byte", "float", "double", "buffer")
    ]
    assert empty.fields == []
    assert order.full_name == "org.example.shop.Order"


def test_types_nest_and_a_short_name_means_the_same_module() -> None:
    order = parse(SHOP)[0].records[0]
    assert order.fields[2].type == Vector(Ref("org.example.shop.Line"))
    assert order.fields[3].type == Map(Primitive("ustring"), Vector(Ref("org.example.other.Note")))


def test_comments_stay_with_what_they_stand_by() -> None:
    order, line, empty = parse(SHOP)[0].records
    assert order.comment == ["What was bought,", "and by whom."]
    assert line.comment == ["One line.", "Or two."]
    assert empty.comment == []
    assert [field.comment for field in order.fields] == ["", "who", "what", ""]


def test_lines_are_remembered() -> None:
    order, line, _ = parse(SHOP)[0].records
    assert (order.line, order.fields[3].line, line.line) == (6, 10, 16)


def test_an_empty_text_has_no_modules() -> None:
    assert parse(" // nothing\n") == []


def test_the_least_size_counts_what_cannot_be_left_out() -> None:
    known = records_by_name(parse(SHOP))
    assert least_size(Ref("org.example.shop.Order"), known) == 8 + 4 + 4 + 4
    assert least_size(Ref("org.example.shop.Line"), known) == 4 + 1 + 1 + 4 + 8 + 4
    assert least_size(Ref("org.example.shop.Empty"), known) == 0


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("modul a { }", 1, 'expected "module", found modul'),
        ("module a {\n class A {\n int x\n }\n}", 4, 'expected ";", found }'),
        ("module a {\n class A {", 2, "expected a type, found the end of the text"),
        ("module a {\n class {", 2, "expected a class name, found {"),
        ("module a {\n class A { int ; } }", 2, "expected a field name, found ;"),
        ("module a {\n class A { vector int x; } }", 2, 'expected "<", found int'),
        ("module a {\n class A { map<int> x; } }", 2, 'expected ",", found >'),
        ("module a {\n class A { map<A, int> x; } }", 2, "the key of a map must be a primitive"),
        ("module a {\n class A.B { } }", 2, "a class name has no dots: A.B"),
        ("module a {\n class A { int x.y; } }", 2, "a field name has no dots: x.y"),
        ("module a {\n\n class A { B b; } }", 3, "A.b: there is no class a.B"),
        ("module a {\n class A { b.B b; } }", 2, "A.b: there is no class b.B"),
        ("module a {\n class A { }\n class A { } }", 3, "class a.A is there twice"),
        ("module a {\n class A { int x;\n long x; } }", 3, "A has two fields named x"),
        ("module a {\n class A { A a; } }", 2, "class A contains itself without end"),
        ("module a {\n class A { B b; }\n class B { A a; } }", 2, "class A contains itself without end"),
        ("module a {\n class A { }\n class B { vector<A> a; } }", 3, "leave the count without bound"),
        ("module a {\n class A { }\n class B { map<int, vector<A>> a; } }", 3, "leave the count without bound"),
        ("module a {\n int x = 5; }", 2, "expected"),
        ("module a {\n # }", 2, "a stray '#'"),
        ("module a {\n\n /* never closed", 3, "a comment without an end"),
        ('include "b.jute"', 1, 'expected "module", found include'),
    ],
)
def test_a_fault_is_reported_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(text)
    assert (caught.value.line, reason in caught.value.reason) == (line, True), str(caught.value)
    assert str(caught.value).startswith(f"line {line}: ")


def test_a_class_may_contain_itself_through_a_vector_or_map() -> None:
    (module,) = parse("module a { class T { vector<T> t; map<int, T> m; } }")
    assert least_size(Ref("a.T"), records_by_name([module])) == 8


def test_types_cannot_nest_without_end() -> None:
    def nested(depth: int) -> str:
        return "module a { class A { " + "vector<" * depth + "int" + ">" * depth + " x; } }"

    parse(nested(MAX_TYPE_DEPTH))
    with pytest.raises(SchemaError, match="nested more than"):
        parse(nested(100_000))
