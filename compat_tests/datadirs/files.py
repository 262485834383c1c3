"""Logs as bytes: where their records stand, and what a crash or a bad disk makes of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

_HEADER_SIZE = 16
_RECORD = Struct(">qi")
_ZXID = Struct(">q")
_ZXID_AT = 12
_DIGEST_SIZE = 12
#: The last bytes of a whole snapshot.
END = b"\0\0\0\1/"


@dataclass(frozen=True)
class Record:
    """One record of a log: from `start` up to `end`, its entry in between."""

    start: int
    end: int
    zxid: int

    @property
    def entry(self) -> slice:
        """Where the entry stands."""
        return slice(self.start + _RECORD.size, self.end - 1)


def records(path: Path) -> list[Record]:
    """All of them, up to the padding."""
    data = path.read_bytes()
    assert data[:4] == b"ZKLG"
    found = []
    at = _HEADER_SIZE
    while at + _RECORD.size <= len(data):
        checksum, length = _RECORD.unpack_from(data, at)
        if length == 0:
            break
        end = at + _RECORD.size + length + 1
        record = Record(at, end, _ZXID.unpack_from(data, at + _RECORD.size + _ZXID_AT)[0])
        assert data[end - 1 : end] == b"B"
        assert zlib.adler32(data[record.entry]) == checksum
        found.append(record)
        at = end
    return found


def cut(path: Path, size: int, *, zeros: bool = False) -> None:
    """Keep the first `size` bytes; `zeros` fills the file up again, as when what was allocated was never written."""
    data = path.read_bytes()
    assert 0 < size < len(data)
    path.write_bytes(data[:size] + bytes(len(data) - size if zeros else 0))


def flip(path: Path, at: int) -> None:
    """Turn one bit around."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def spoil_digest(path: Path, record: Record) -> None:
    """Give a txn another digest, under a checksum that fits."""
    data = bytearray(path.read_bytes())
    entry = data[record.entry]
    assert entry[-_DIGEST_SIZE : 4 - _DIGEST_SIZE] == b"\0\0\0\2", "a txn without a digest"
    entry[-1] ^= 1
    data[record.entry] = entry
    _RECORD.pack_into(data, record.start, zlib.adler32(entry), len(entry))
    path.write_bytes(data)
