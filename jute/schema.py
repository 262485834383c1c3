"""Schema text (`.jute`) to values: `parse(text) -> list[Module]`.

    module org.example.shop {
        // What was bought.                   comment lines right above a class become its docstring
        class Order {
            long id;
            ustring buyer;        // who      a comment behind a field stays with the field
            vector<org.example.shop.Line> lines;
        }
    }

Types: byte boolean int long float double buffer ustring vector<T> map<K,V>, or a class by its name, with its module's
name in front unless it is a class of the same module. Law: what `parse` returns is sound: every name is known and
unique, every class finite, every vector's count bounded by its bytes. All else is a `SchemaError` with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from jute.errors import SchemaError

PRIMITIVES: Final = ("byte", "boolean", "int", "long", "float", "double", "buffer", "ustring")

# Bytes a primitive takes at least: its width, or the four of its length.
LEAST: Final = {"byte": 1, "boolean": 1, "int": 4, "long": 8, "float": 4, "double": 8, "buffer": 4, "ustring": 4}

# vector<vector<...>> deeper than this is a joke, and would cost the parser its stack.
MAX_TYPE_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Primitive:
    """One of PRIMITIVES."""

    name: str


@dataclass(frozen=True, slots=True)
class Vector:
    """vector<element>."""

    element: Type


@dataclass(frozen=True, slots=True)
class Map:
    """map<key, value>; the key is a primitive."""

    key: Primitive
    value: Type


@dataclass(frozen=True, slots=True)
class Ref:
    """A class, by its full name."""

    name: str


Type: TypeAlias = Primitive | Vector | Map | Ref


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its type, its name as the schema spells it, and the comment behind it."""

    name: str
    type: Type
    line: int
    comment: str = ""


@dataclass(slots=True)
class Record:
    """A class: fields in wire order, and the comment lines above it."""

    name: str
    module: str
    line: int
    comment: list[str] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        """The name with its module's in front."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Module:
    """A module: its dotted name, and its classes in the order written."""

    name: str
    line: int
    records: list[Record] = field(default_factory=list)


def parse(text: str) -> list[Module]:
    """The modules of `text` in the order written; raises SchemaError with the line of the first fault."""
    modules = _Parser(text).modules()
    _check(modules)
    return modules


def records_by_name(modules: list[Module]) -> dict[str, Record]:
    """Every class under its full name, in the order written."""
    return {record.full_name: record for module in modules for record in module.records}


def least_size(type_: Type, records: dict[str, Record]) -> int:
    """The fewest bytes a value of this type can take."""
    if isinstance(type_, Primitive):
        return LEAST[type_.name]
    if isinstance(type_, Ref):
        return sum(least_size(field.type, records) for field in records[type_.name].fields)
    return 4


def named_by(type_: Type) -> Iterator[str]:
    """The full names of the classes that a type mentions."""
    if isinstance(type_, Ref):
        yield type_.name
    elif isinstance(type_, Vector):
        yield from named_by(type_.element)
    elif isinstance(type_, Map):
        yield from named_by(type_.value)


# Text to tokens


class _Token(NamedTuple):
    kind: str  # "name", "mark", "comment" or "end"
    text: str
    line: int


_LEXER: Final = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<mark>[{}<>,;])",
    re.DOTALL,
)


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        found = _LEXER.match(text, at)
        if found is None:
            what = "a comment without an end" if text.startswith("/*", at) else f"a stray {text[at]!r}"
            raise SchemaError(line, what)
        kind = found.lastgroup
        assert kind is not None
        if kind != "space":
            yield _Token(kind, found[0], line)
        line += found[0].count("\n")
        at = found.end()
    yield _Token("end", "the end of the text", line)


def _comment_lines(text: str) -> list[str]:
    if text.startswith("//"):
        return [text[2:].strip()]
    lines = [line.strip().removeprefix("*").strip() for line in text[2:-2].split("\n")]
    return [line for line in lines if line]


# Tokens to values


class _Parser:
    def __init__(self, text: str) -> None:
        self._stream = _tokens(text)
        self._comments: list[_Token] = []  # those passed on the way to the current token
        self._token = self._advance()

    def modules(self) -> list[Module]:
        found: list[Module] = []
        while self._token.kind != "end":
            found.append(self._module())
        return found

    def _module(self) -> Module:
        line = self._token.line
        self._keyword("module")
        module = Module(self._name("a module name"), line)
        self._mark("{")
        while not self._at("}"):
            module.records.append(self._record(module.name))
        self._mark("}")
        return module

    def _record(self, module: str) -> Record:
        line = self._token.line
        comment = self._comment_above(line)
        self._keyword("class")
        record = Record(self._simple_name("a class name"), module, line, comment)
        self._mark("{")
        while not self._at("}"):
            record.fields.append(self._field(module))
        self._mark("}")
        return record

    def _field(self, module: str) -> Field:
        line = self._token.line
        type_ = self._type(module, 0)
        name = self._simple_name("a field name")
        end = self._token.line
        self._mark(";")
        # The token now current has taken the comments before it along; the first may stand behind our semicolon.
        behind = [token for token in self._comments if token.line == end]
        return Field(name, type_, line, " ".join(_comment_lines(behind[0].text)) if behind else "")

    def _type(self, module: str, depth: int) -> Type:
        token = self._token
        if depth > MAX_TYPE_DEPTH:
            raise SchemaError(token.line, f"a type nested more than {MAX_TYPE_DEPTH} deep")
        name = self._name("a type")
        if name in PRIMITIVES:
            return Primitive(name)
        if name == "vector":
            self._mark("<")
            element = self._type(module, depth + 1)
            self._mark(">")
            return Vector(element)
        if name == "map":
            self._mark("<")
            key = self._type(module, depth + 1)
            if not isinstance(key, Primitive):
                raise SchemaError(token.line, "the key of a map must be a primitive")
            self._mark(",")
            value = self._type(module, depth + 1)
            self._mark(">")
            return Map(key, value)
        return Ref(name if "." in name else f"{module}.{name}")

    # One token

    def _advance(self) -> _Token:
        self._comments = []
        for token in self._stream:
            if token.kind != "comment":
                return token
            self._comments.append(token)
        raise AssertionError("read past the end")

    def _comment_above(self, line: int) -> list[str]:
        """The comment that ends on the line above `line`, growing upward while no line is left out."""
        lines: list[str] = []
        for token in reversed(self._comments):
            if token.line + token.text.count("\n") != line - 1:
                break
            lines[:0] = _comment_lines(token.text)
            line = token.line
        return lines

    def _at(self, mark: str) -> bool:
        return self._token.kind == "mark" and self._token.text == mark

    def _mark(self, mark: str) -> None:
        if not self._at(mark):
            raise self._unexpected(f'"{mark}"')
        if self._token.kind != "end":
            self._token = self._advance()

    def _keyword(self, word: str) -> None:
        if self._token.text != word:
            raise self._unexpected(f'"{word}"')
        self._token = self._advance()

    def _name(self, what: str) -> str:
        if self._token.kind != "name":
            raise self._unexpected(what)
        name = self._token.text
        self._token = self._advance()
        return name

    def _simple_name(self, what: str) -> str:
        line, name = self._token.line, self._name(what)
        if "." in name:
            raise SchemaError(line, f"{what} has no dots: {name}")
        return name

    def _unexpected(self, wanted: str) -> SchemaError:
        return SchemaError(self._token.line, f"expected {wanted}, found {self._token.text}")


# Is it sound?


def _check(modules: list[Module]) -> None:
    known: dict[str, Record] = {}
    for module in modules:
        for record in module.records:
            if record.full_name in known:
                raise SchemaError(record.line, f"class {record.full_name} is there twice")
            known[record.full_name] = record
    for record in known.values():
        names: set[str] = set()
        for each in record.fields:
            if each.name in names:
                raise SchemaError(each.line, f"{record.name} has two fields named {each.name}")
            names.add(each.name)
            for name in named_by(each.type):
                if name not in known:
                    raise SchemaError(each.line, f"{record.name}.{each.name}: there is no class {name}")
    finite: set[str] = set()
    for record in known.values():
        _check_finite(record, known, [], finite)
    for record in known.values():
        for each in record.fields:
            _check_bounded(each.type, known, each)


def _check_finite(record: Record, known: dict[str, Record], path: list[str], finite: set[str]) -> None:
    """A class may hold itself in a vector or map, which can be empty, but not outright."""
    if record.full_name in finite:
        return
    if record.full_name in path:
        raise SchemaError(record.line, f"class {record.name} contains itself without end")
    for each in record.fields:
        if isinstance(each.type, Ref):
            _check_finite(known[each.type.name], known, [*path, record.full_name], finite)
    finite.add(record.full_name)


def _check_bounded(type_: Type, known: dict[str, Record], where: Field) -> None:
    if isinstance(type_, Vector):
        if least_size(type_.element, known) == 0:
            raise SchemaError(where.line, f"{where.name}: elements without bytes leave the count without bound")
        _check_bounded(type_.element, known, where)
    elif isinstance(type_, Map):
        _check_bounded(type_.value, known, where)
