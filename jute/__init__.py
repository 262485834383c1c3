"""Jute, the record format of ZooKeeper: schema text in, Python classes out; records to bytes and back.

A record on the wire is its fields in order: no tags, no count of fields, no padding. Numbers are big-endian; strings,
buffers, vectors and maps begin with an int, -1 for null. Whoever reads must know the schema.

    errors.py    JuteError (bad bytes), SchemaError (bad schema)
    wire.py      the primitives as functions; every limit that protects a reader
    record.py    the base of the generated classes
    schema.py    .jute text -> Module, Record, Field
    generate.py  schema -> Python source text

This package needs nothing but the standard library and knows nothing of ZooKeeper. Read the files in that order.
"""

from jute.errors import JuteError, SchemaError
from jute.generate import generate
from jute.record import Record
from jute.schema import parse
from jute.wire import Buffer, set_max_length

__all__ = ["Buffer", "JuteError", "Record", "SchemaError", "generate", "parse", "set_max_length"]
