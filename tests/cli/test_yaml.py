"""The YAML subset: what is emitted reads back as it was, and what is outside of it is refused with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.cli import yaml

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text("a \n\t#:-|'\"\\\r", max_size=12),
    st.sampled_from(["null", "~", "true", "No", "5", "a: b", "a #b", "- a", "---", "{}", "\n", "a\n\n", " a\nb\n"]),
)
DOCUMENTS = st.recursive(
    st.dictionaries(TEXTS, TEXTS, max_size=3),
    lambda below: st.dictionaries(TEXTS, st.one_of(TEXTS, below), max_size=3),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_what_is_emitted_reads_back_as_it_was(document: yaml.Document) -> None:
    assert yaml.parse(yaml.emit(document)) == document


@given(st.text("ab: \n#|-+{}'\"\\x0\t", max_size=40))
def test_any_text_is_a_document_or_is_refused_with_a_line_it_has(text: str) -> None:
    try:
        document = yaml.parse(text)
    except yaml.YamlError as refused:
        line = refused.line
    else:
        line = 1
        assert yaml.parse(yaml.emit(document)) == document
    assert 1 <= line <= text.count("\n") + 1


def test_what_people_write_by_hand_is_read() -> None:
    text = (
        "# all of it\r\n"
        "---\n"
        "name: shop   # plain\n"
        "\n"
        "db:\n"
        "    url: postgres://db:5432/shop\n"
        "    'pool': 10\n"
        '    "a b" : "tab\\there \\u00e9"\n'
        "    quoted: 'it''s # no comment'  # but this\n"
        "    empty: ''\n"
        "nothing: {}\n"
        "motd: |\n"
        "  first\n"
        "\n"
        "    deeper # kept\n"
        "\n"
        "stripped: |-\n"
        "  a\n"
        "kept: |+\n"
        "  a\n"
        "\n"
    )
    assert yaml.parse(text) == {
        "name": "shop",
        "db": {
            "url": "postgres://db:5432/shop", "pool": "10", "a b": "tab\there é",
            "quoted": "it's # no comment", "empty": "",
        },
        "nothing": {}, "motd": "first\n\n  deeper # kept\n", "stripped": "a", "kept": "a\n\n",
    }  # fmt: skip


def test_texts_of_several_lines_are_blocks_and_other_texts_are_quoted_where_yaml_takes_them_for_more() -> None:
    document: yaml.Document = {"a": "x\ny\n", "b": "yes", "c": "8080", "d": {"e": "/usr/lib", "f": {}}}
    assert yaml.emit(document) == 'a: |\n  x\n  y\nb: "yes"\nc: "8080"\nd:\n  e: /usr/lib\n  f: {}\n'


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: [1]\n", 2, "lists"),
        ("a:\n  - b\n", 2, "lists"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\n\na: 2\n", 3, "twice"),
        ("a: 1\n  b: 2\n", 2, "deeper"),
        ("  a: 1\nb: 2\n", 2, "less"),
        ("a:\n    b: 1\n  c: 2\n", 3, "deeper"),
        ("a:\nb: 2\n", 1, "no value"),
        ("a: null\n", 1, "never null"),
        ("a: b: c\n", 1, "needs quotes"),
        ('a: "b\n', 1, 'closing "'),
        ("a: 'b' c\n", 1, "follows"),
        ('a: "\\q"\n', 1, "no escape"),
        ('a: "\\ud800"\n', 1, "half"),
        ("a: &x b\n", 1, "anchors"),
        ("a: >\n  b\n", 1, "folded"),
        ("a: |2\n  b\n", 1, "block"),
        ("a: b\n---\nc: d\n", 2, "one document"),
        ("just text\n", 1, "key: value"),
        ("# nothing\n", 1, "nothing"),
    ],
)
def test_what_is_outside_of_the_subset_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(yaml.YamlError, match=reason) as refused:
        yaml.parse(text)
    assert refused.value.line == line
