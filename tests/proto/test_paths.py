"""Which paths are legal, at every edge of every range; and the parts of a path."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.proto.paths import name_of, namespace_of, parent_of, path_error

RANGES = [(0x00, 0x1F), (0x7F, 0x9F), (0xD800, 0xF8FF), (0xFFF0, 0x10FFFF)]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a",
        "/a/b",
        "/...",
        "/.a",
        "/..a",
        "/a.",
        "/a..",
        "/a/...",
        "/ ",
        "/a b",
        "/é",
        "/\xa0",
        "/.a/..b",
        "/~",
        "/\\",
    ],
)
def test_these_paths_are_legal(path: str) -> None:
    assert path_error(path) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (None, "is null"),
        ("", "is empty"),
        ("a", "does not start with /"),
        ("a/b", "does not start with /"),
        ("/a/", "ends with /"),
        ("//", "has an empty name at 1"),
        ("//a", "has an empty name at 1"),
        ("/a//b", "has an empty name at 3"),
        ("/.", "has a relative name at 1"),
        ("/..", "has a relative name at 1"),
        ("/./a", "has a relative name at 1"),
        ("/../a", "has a relative name at 1"),
        ("/a/.", "has a relative name at 3"),
        ("/a/..", "has a relative name at 3"),
        ("/a/../b", "has a relative name at 3"),
        ("/a\0", "illegal character, U+0000, at 2"),
        ("/a\n", "illegal character, U+000A, at 2"),
        ("/a/.\n", "illegal character, U+000A, at 4"),
        ("/\ufffd", "illegal character, U+FFFD, at 1"),
        ("/a\U0001f600", "illegal character, U+1F600, at 2"),
    ],
)
def test_these_paths_are_not_legal_and_the_reason_says_why(path: str | None, reason: str) -> None:
    found = path_error(path)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("template", ["/{}", "/a{}", "/a/{}b", "/{}/b"])
def test_both_ends_of_an_illegal_range_are_illegal_and_their_neighbours_legal(
    low: int, high: int, template: str
) -> None:
    for code in (low, (low + high) // 2, high):
        assert f"U+{code:04X}" in (path_error(template.format(chr(code))) or "")
    for code in (low - 1, high + 1):
        if 0 <= code <= 0x10FFFF:
            assert path_error(template.format(chr(code))) is None


def test_every_character_of_the_basic_plane_is_judged_as_the_ranges_say() -> None:
    wrong = [
        code
        for code in range(0x10000)
        if code not in (ord("/"), ord("."))
        and (path_error("/" + chr(code)) is not None) != any(low <= code <= high for low, high in RANGES)
    ]
    assert wrong == []


def plain_rules(path: str) -> bool:
    """The rules again, one name at a time."""
    if path == "/":
        return True
    if not path.startswith("/"):
        return False
    return all(
        name not in ("", ".", "..") and not any(low <= ord(c) <= high for c in name for low, high in RANGES)
        for name in path[1:].split("/")
    )


@given(st.text("/.ab\0\x1f \x7f\ud800\ufff0\U00010000", max_size=12))
def test_the_pattern_agrees_with_the_rules_told_plainly(path: str) -> None:
    assert (path_error(path) is None) == plain_rules(path)
    assert path_error("/" + path) is None or re.match("the path ", path_error("/" + path) or "")


def test_a_very_long_path_is_judged_in_one_pass() -> None:
    assert path_error("/a" * 500_000) is None
    assert path_error("/a" * 500_000 + "/") is not None
    assert path_error("/" + "." * 1_000_000 + "\0") is not None


def test_parent_and_name_split_a_path() -> None:
    assert [parent_of(path) for path in ("/", "/a", "/a/b", "/a/b/c")] == ["/", "/", "/a", "/a/b"]
    assert [name_of(path) for path in ("/", "/a", "/a/b", "/a/b/c")] == ["", "a", "b", "c"]


def test_the_namespace_is_the_first_name() -> None:
    paths = [None, "", "/", "//", "a", "/a", "/a/b", "/a/b/c", "x/y"]
    assert [namespace_of(path) for path in paths] == [None, None, None, None, None, "a", "a", "a", "y"]
