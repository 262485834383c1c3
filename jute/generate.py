"""A schema to Python source text: one plain class per record, in the schema's order.

Law: the same schema gives the same text, to the byte, already formatted (lines of at most 120, `ruff format` leaves it
alone) and typed for `mypy --strict`; so the text can be checked in, reviewed and compared.

Names: the class keeps its name; a field turns from camelCase into snake_case (`snake_case` below), with an underscore
behind it where Python or the class itself uses the name. Two or more fixed-width fields in a row are one `struct` call.
A record that can contain itself takes a depth in `decode` and refuses to go below `wire.MAX_DEPTH`.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterator
from typing import Final

from jute import wire
from jute.errors import SchemaError
from jute.schema import Field, Map, Module, Primitive, Record, Ref, Type, Vector, least_size, named_by, records_by_name

WIDTH: Final = 120

_CODES: Final = {"byte": "b", "boolean": "?", "int": "i", "long": "q", "float": "f", "double": "d"}
_WIDTHS: Final = {"byte": 1, "boolean": 1, "int": 4, "long": 8, "float": 4, "double": 8}
_PYTHON: Final = {
    "byte": "int",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "buffer": "bytes",
    "ustring": "str",
}
_SLOTS_NOTE: Final = "# ruff: noqa: RUF023 - slots stand in wire order, not in the alphabet's"
_SUFFIX: Final = {"boolean": "bool"}  # read_bool, not read_boolean

_WIRE_NAMES: Final = {name for name in vars(wire) if name.startswith(("read_", "write_", "short", "too_"))}
_METHODS: Final = {"encode", "decode", "to_bytes", "from_bytes"}
# The built-in names of the annotations stay usable as field names: annotations are never evaluated inside a function.
_TAKEN: Final = {"self", "out", "buf", "at", "depth"} | _METHODS | _WIRE_NAMES
_TAKEN_CLASSES: Final = {"Record", "Buffer", "Struct", "StructError", "Final", "MAX_DEPTH"}


def snake_case(name: str) -> str:
    """sessionId -> session_id, paths2Delete -> paths2_delete, parentCVersion -> parent_c_version."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def attribute(field: Field) -> str:
    """The Python name of a field."""
    name = snake_case(field.name)
    return name + "_" if name in _TAKEN or keyword.iskeyword(name) else name


def generate(modules: list[Module], docstring: str) -> str:
    """Python source of all records; `docstring` is the module's, without quotes. Raises SchemaError on name clashes."""
    return _Generator(modules).source(docstring)


class _Generator:
    def __init__(self, modules: list[Module]) -> None:
        self._modules = modules
        self._records = records_by_name(modules)
        self._recursive = {name for name in self._records if name in self._reach(name)}
        self._used: set[str] = set()  # what to import from jute.wire
        self._structs: dict[str, str] = {}  # constant -> format
        self._check_names()

    def source(self, docstring: str) -> str:
        classes: list[str] = []
        for module in self._modules:
            classes += ["", "", f"# {module.name}"]
            for record in module.records:
                classes += ["", "", *self._record(record)]
        lines = [f'"""{docstring}"""', "", _SLOTS_NOTE, "", "from __future__ import annotations", ""]
        if self._structs:
            lines += ["from struct import Struct", "from struct import error as StructError"]
            lines += ["from typing import Final", ""]
        lines += ["from jute.record import Record", *self._wire_import()]
        if self._structs:
            lines += [""]
            lines += [f'{name}: Final = Struct("{code}")' for name, code in self._structs.items()]
        return "\n".join(lines + classes) + "\n"

    # Names

    def _check_names(self) -> None:
        seen: dict[str, Record] = {}
        for record in self._records.values():
            if record.name in seen:
                raise SchemaError(record.line, f"two classes are named {record.name}")
            if record.name in _TAKEN_CLASSES or record.name in _WIRE_NAMES or keyword.iskeyword(record.name):
                raise SchemaError(record.line, f"a class cannot be named {record.name}")
            seen[record.name] = record
            attributes: set[str] = set()
            for field in record.fields:
                if attribute(field) in attributes:
                    raise SchemaError(field.line, f"two fields would be named {record.name}.{attribute(field)}")
                attributes.add(attribute(field))

    def _reach(self, name: str) -> set[str]:
        """All classes that a class mentions, at any distance."""
        found: set[str] = set()
        todo = [name]
        while todo:
            for field in self._records[todo.pop()].fields:
                for each in named_by(field.type):
                    if each not in found:
                        found.add(each)
                        todo.append(each)
        return found

    def _wire_import(self) -> list[str]:
        names = ", ".join(_import_order(self._used | {"Buffer"}))
        line = f"from jute.wire import {names}"
        if len(line) <= WIDTH:
            return [line]
        return ["from jute.wire import (", *(f"    {name}," for name in _import_order(self._used | {"Buffer"})), ")"]

    def _use(self, name: str) -> str:
        self._used.add(name)
        return name

    def _struct(self, record: Record, run: list[Field]) -> str:
        """The module-level Struct of a run; named by the record alone if the run is all of the record's numbers."""
        name = "_" + snake_case(record.name).upper()
        numbers = [field for field in record.fields if _code(field)]
        if len(numbers) != len(run):
            name += "_" + snake_case(run[0].name).upper()
        code = ">" + "".join(_code(field) for field in run)
        if self._structs.setdefault(name, code) != code:
            raise SchemaError(record.line, f"two runs of fields would be named {name}")
        return name

    # One class

    def _record(self, record: Record) -> list[str]:
        names = [attribute(field) for field in record.fields]
        lines = [f"class {record.name}(Record):"]
        if record.comment:
            lines += _docstring(record.comment)
        lines += _wrapped("    __slots__ = (", [f'"{name}"' for name in names], ")", lone_comma=True)
        if names:
            params = [f"{attribute(field)}: {self._python(field.type)}" for field in record.fields]
            lines += ["", *_wrapped("    def __init__(", ["self", *params], ") -> None:")]
            for field, name in zip(record.fields, names, strict=True):
                lines.append(f"        self.{name} = {name}" + (f"  # {field.comment}" if field.comment else ""))
        lines += ["", "    def encode(self, out: bytearray) -> None:", *self._encode(record)]
        lines += ["", "    @staticmethod", *self._decode(record)]
        lines += ["", "    @staticmethod", f"    def from_bytes(buf: Buffer) -> {record.name}:"]
        lines += [f"        return {record.name}.decode(buf)[0]"]
        return lines

    def _encode(self, record: Record) -> Iterator[str]:
        if not record.fields:
            yield "        pass"
        for run in _runs(record):
            if len(run) > 1:
                struct = self._struct(record, run)
                values = [f"self.{attribute(field)}" for field in run]
                yield from _wrapped(f"        out += {struct}.pack(", values, ")")
            else:
                yield from self._write(run[0].type, f"self.{attribute(run[0])}")

    def _write(self, type_: Type, value: str) -> Iterator[str]:
        if isinstance(type_, Ref):
            yield f"        {value}.encode(out)"
        elif isinstance(type_, Vector) and isinstance(type_.element, Ref):
            yield f"        {self._use('write_records')}(out, {value})"
        elif isinstance(type_, Vector):
            args = ["out", value, self._writer(type_.element)]
            yield from _wrapped(f"        {self._use('write_vector')}(", args, ")")
        elif isinstance(type_, Map):
            args = ["out", value, self._writer(type_.key), self._writer(type_.value)]
            yield from _wrapped(f"        {self._use('write_map')}(", args, ")")
        else:
            yield f"        {self._writer(type_)}(out, {value})"

    def _writer(self, type_: Type) -> str:
        """An expression: a function (out, value) that writes one element."""
        if isinstance(type_, Primitive):
            return self._use("write_" + _SUFFIX.get(type_.name, type_.name))
        if isinstance(type_, Ref):
            return "lambda o, v: v.encode(o)"
        if isinstance(type_, Vector) and isinstance(type_.element, Ref):
            return self._use("write_records")
        if isinstance(type_, Vector):
            return f"lambda o, v: {self._use('write_vector')}(o, v, {self._writer(type_.element)})"
        key, value = self._writer(type_.key), self._writer(type_.value)
        return f"lambda o, v: {self._use('write_map')}(o, v, {key}, {value})"

    def _decode(self, record: Record) -> Iterator[str]:
        recursive = record.full_name in self._recursive
        depth = f", depth: int = {self._use('MAX_DEPTH')}" if recursive else ""
        yield f"    def decode(buf: Buffer, at: int = 0{depth}) -> tuple[{record.name}, int]:"
        if recursive:
            yield "        if depth == 0:"
            yield f'            raise {self._use("too_deep")}(at, "{record.name}")'
        end = "at"
        runs = _runs(record)
        for run in runs:
            if len(run) == 1:
                yield from self._read(record, run[0])
                continue
            struct, names = self._struct(record, run), [attribute(field) for field in run]
            args = ["buf", "at", struct, f'"{record.name}"']
            yield "        try:"
            yield from _unpacking(names, f"{struct}.unpack_from(buf, at)")
            yield "        except StructError:"
            yield from _raise_short_run(self._use("short_run"), args, [field.name for field in run])
            width = sum(_width(field) for field in run)
            if run is runs[-1]:
                end = f"at + {width}"
            else:
                yield f"        at += {width}"
        args = [attribute(field) for field in record.fields]
        yield from _wrapped(f"        return {record.name}(", args, f"), {end}")

    def _read(self, record: Record, field: Field) -> Iterator[str]:
        type_, where = field.type, f'"{record.name}.{field.name}"'
        start = f"        {attribute(field)}, at = "
        if isinstance(type_, Ref):
            yield f"{start}{record_name(type_)}.decode(buf, at{self._deeper(record, type_)})"
        elif isinstance(type_, Primitive):
            yield f"{start}{self._use('read_' + _SUFFIX.get(type_.name, type_.name))}(buf, at, {where})"
        elif isinstance(type_, Vector) and isinstance(type_.element, Ref):
            args = ["buf", "at", where, self._decoder(record, type_.element), str(self._least(type_.element))]
            yield from _wrapped(f"{start}{self._use('read_records')}(", args, ")")
        elif isinstance(type_, Vector):
            args = ["buf", "at", where, self._reader(record, type_.element), str(self._least(type_.element))]
            yield from _wrapped(f"{start}{self._use('read_vector')}(", args, ")")
        else:
            key, value = self._reader(record, type_.key), self._reader(record, type_.value)
            least = self._least(type_.key) + self._least(type_.value)
            yield from _wrapped(f"{start}{self._use('read_map')}(", ["buf", "at", where, key, value, str(least)], ")")

    def _deeper(self, record: Record, type_: Ref) -> str:
        both = record.full_name in self._recursive and type_.name in self._recursive
        return ", depth - 1" if both else ""

    def _decoder(self, record: Record, type_: Ref) -> str:
        """An expression: a function (buf, at) that decodes a record."""
        deeper = self._deeper(record, type_)
        return f"lambda b, a: {record_name(type_)}.decode(b, a{deeper})" if deeper else f"{record_name(type_)}.decode"

    def _reader(self, record: Record, type_: Type) -> str:
        """An expression: a function (buf, at, field) that reads one element."""
        if isinstance(type_, Primitive):
            some = "some_" if type_.name in ("buffer", "ustring") else ""
            return self._use(f"read_{some}" + _SUFFIX.get(type_.name, type_.name))
        if isinstance(type_, Ref):
            return f"lambda b, a, f: {record_name(type_)}.decode(b, a{self._deeper(record, type_)})"
        if isinstance(type_, Vector) and isinstance(type_.element, Ref):
            decoder = self._decoder(record, type_.element)
            return f"lambda b, a, f: {self._use('read_records')}(b, a, f, {decoder}, {self._least(type_.element)})"
        if isinstance(type_, Vector):
            reader = self._reader(record, type_.element)
            return f"lambda b, a, f: {self._use('read_vector')}(b, a, f, {reader}, {self._least(type_.element)})"
        key, value = self._reader(record, type_.key), self._reader(record, type_.value)
        least = self._least(type_.key) + self._least(type_.value)
        return f"lambda b, a, f: {self._use('read_map')}(b, a, f, {key}, {value}, {least})"

    def _least(self, type_: Type) -> int:
        return least_size(type_, self._records)

    def _python(self, type_: Type, element: bool = False) -> str:
        """The annotation of a type; a variable-width one may be null, except (in our reading) as a plain element."""
        null = "" if element else " | None"
        if isinstance(type_, Primitive):
            return _PYTHON[type_.name] + (null if type_.name in ("buffer", "ustring") else "")
        if isinstance(type_, Ref):
            return record_name(type_)
        if isinstance(type_, Vector):
            return f"list[{self._python(type_.element, element=True)}] | None"
        return f"dict[{self._python(type_.key, element=True)}, {self._python(type_.value, element=True)}] | None"


def record_name(type_: Ref) -> str:
    """The class name without its module."""
    return type_.name.rpartition(".")[2]


def _code(field: Field) -> str:
    """The struct code of a fixed-width field, else empty."""
    return _CODES.get(field.type.name, "") if isinstance(field.type, Primitive) else ""


def _width(field: Field) -> int:
    assert isinstance(field.type, Primitive)
    return _WIDTHS[field.type.name]


def _runs(record: Record) -> list[list[Field]]:
    """The fields in order, neighbours of fixed width together, all others alone."""
    runs: list[list[Field]] = []
    for field in record.fields:
        if runs and _code(field) and _code(runs[-1][0]):
            runs[-1].append(field)
        else:
            runs.append([field])
    return runs


def _import_order(names: set[str]) -> list[str]:
    """CONSTANTS, then Classes, then functions, as import sorters put them."""
    return sorted(names, key=lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name))


# Text that fits its line, laid out as ruff (and black) would


def _docstring(comment: list[str]) -> list[str]:
    text = [line.replace("\\", "\\\\").replace('"""', "'''") for line in comment]
    if len(text) == 1 and len(text[0]) <= WIDTH - 10:
        return [f'    """{text[0]}"""', ""]
    return [f'    """{text[0]}', *(f"    {line}".rstrip() for line in text[1:]), '    """', ""]


def _wrapped(start: str, items: list[str], end: str, lone_comma: bool = False) -> list[str]:
    """`start` items `end` on one line; else the items on their own line; else a line for each."""
    one = ", ".join(items) + ("," if lone_comma and len(items) == 1 else "")
    if len(start) + len(one) + len(end) <= WIDTH:
        return [start + one + end]
    indent = " " * (len(start) - len(start.lstrip()))
    if len(indent) + 4 + len(one) <= WIDTH:
        return [start, f"{indent}    {one}", indent + end]
    return [start, *(f"{indent}    {item}," for item in items), indent + end]


def _unpacking(names: list[str], value: str) -> list[str]:
    one = f"            {', '.join(names)} = {value}"
    if len(one) <= WIDTH:
        return [one]
    return ["            (", *(f"                {name}," for name in names), f"            ) = {value}"]


def _raise_short_run(short_run: str, args: list[str], fields: list[str]) -> list[str]:
    start, end = f"            raise {short_run}(", ") from None"
    words = textwrap.wrap(" ".join(fields), WIDTH - 20, break_long_words=False)
    if len(words) == 1:
        return _wrapped(start, [*args, f'"{words[0]}"'], end)
    strings = [f'                "{line} "' for line in words[:-1]] + [f'                "{words[-1]}",']
    return [start, *(f"                {arg}," for arg in args), *strings, "            " + end.lstrip()]
