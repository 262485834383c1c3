"""What can go wrong: bytes that are not the record they should be, and schema text that is no schema."""

from __future__ import annotations


class JuteError(ValueError):
    """Bytes do not hold what was to be read: cut short, a length out of bounds, nesting too deep.

    The text names the field ("CreateRequest.path") and the offset at which reading it began.
    """

    def __init__(self, field: str, at: int, reason: str) -> None:
        super().__init__(f"{field} at byte {at}: {reason}")
        self.field = field
        self.at = at
        self.reason = reason


class SchemaError(ValueError):
    """Schema text that cannot be understood, or from which no code can be written; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason
