"""The syntax of zoo.cfg, as Java's Properties reads it (each sample was compared with Java's own reader)."""

import pytest

from zkpy.server.properties import Entry, parse

SAMPLES = {
    "an equals sign": (b"a=b", [("a", "b")]),
    "a colon": (b"a:b", [("a", "b")]),
    "a blank": (b"a b", [("a", "b")]),
    "blanks around the sign": (b" \t\fa \t= \tb", [("a", "b")]),
    "only the first sign separates": (b"a=b=c:d e", [("a", "b=c:d e")]),
    "a sign after a blank and a sign": (b"a = = b", [("a", "= b")]),
    "blanks at the end are part of the value": (b"a=b \t", [("a", "b \t")]),
    "no value": (b"a\nb=\nc:", [("a", ""), ("b", ""), ("c", "")]),
    "no key": (b"=b", [("", "b")]),
    "comments": (b"#a=b\n!a=b\n  # a\na=b # c", [("a", "b # c")]),
    "empty lines": (b"\n \t\n\r\n\ra=b\n\n", [("a", "b")]),
    "every kind of line end": (b"a=1\nb=2\r\nc=3\rd=4", [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
    "a line continues": (b"a=b\\\n   c\\\r\n\td", [("a", "bcd")]),
    "a key continues": (b"a\\\n b=c", [("ab", "c")]),
    "two backslashes end a line": (b"a=b\\\\\nc=d", [("a", "b\\"), ("c", "d")]),
    "three backslashes do not": (b"a=b\\\\\\\nc", [("a", "b\\c")]),
    "a comment does not continue": (b"# a\\\nb=c", [("b", "c")]),
    "an empty line ends a continuation": (b"a=b\\\n\nc=d", [("a", "b"), ("c", "d")]),
    "a comment sign continues a value": (b"a=b\\\n#c", [("a", "b#c")]),
    "a comment after a line of a backslash": (b"\\\n# a\nb=c", [("b", "c")]),
    "the file ends in a backslash": (b"a=b\\", [("a", "b")]),
    "escapes of characters": (b"a=\\t\\n\\r\\f\\q\\\\", [("a", "\t\n\r\fq\\")]),
    "escaped separators in a key": (b"a\\ b\\=c\\:d=e", [("a b=c:d", "e")]),
    "escapes of code points": (b"\\u0061=\\u00e9\\uABCD", [("a", "\xe9\uabcd")]),
    "bytes are ISO-8859-1": ("a=é".encode(), [("a", "Ã©")]),
    "equal keys all come": (b"a=1\na=2", [("a", "1"), ("a", "2")]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_syntax_is_javas(name: str) -> None:
    text, entries = SAMPLES[name]
    assert [(entry.key, entry.value) for entry in parse(text)] == entries


@pytest.mark.parametrize("text", [b"a=\\u12", b"a=\\u12g4", b"a=\\u", b"\\u+123=b"])
def test_half_an_escape_of_a_code_point_is_refused_with_its_line(text: bytes) -> None:
    with pytest.raises(ValueError, match="line 3: malformed"):
        parse(b"x=y\n\n" + text)


def test_an_entry_knows_the_line_on_which_it_begins() -> None:
    text = b"# comment\r\na=1\n\n  b=\\\n   2\\\n 3\nc=4"
    assert parse(text) == [Entry("a", "1", 2), Entry("b", "23", 4), Entry("c", "4", 7)]


def test_an_empty_file_has_no_entries() -> None:
    assert parse(b"") == []
