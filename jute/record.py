"""The base of every generated record: what is the same for all of them and is not on the hot path.

A generated record adds `__slots__`, a positional `__init__`, `encode`, and the static `decode` and `from_bytes`.
"""

from __future__ import annotations


class Record:
    """Fields in wire order, named by `__slots__`; equal when the type and all fields are equal; not hashable."""

    __slots__: tuple[str, ...] = ()

    def encode(self, out: bytearray) -> None:
        """Append the record's bytes to `out`."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The record's bytes."""
        out = bytearray()
        self.encode(out)
        return bytes(out)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"
