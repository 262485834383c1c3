"""Frames: an int length, then so many bytes. A byte stream goes in, whole frames come out.

Law: no length is believed beyond `limit`, so a stranger can make us hold one frame and no more; and the work is
proportional to the bytes, however small the pieces they arrive in.

The first four bytes of a client's connection may be a four-letter word instead: look at them before feeding them here.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from zkpy.proto.errors import ProtocolError

# Apache's default for jute.maxbuffer; a frame of exactly this length is still allowed.
DEFAULT_LIMIT: Final = 0xFFFFF

_LENGTH: Final = Struct(">i")


def frame(body: bytes | bytearray) -> bytes:
    """The body with its length in front."""
    return _LENGTH.pack(len(body)) + body


class Framer:
    """One stream's incoming half. `feed` it; once `error` is set the stream has lost its rhythm for good."""

    __slots__ = ("_need", "error", "held", "limit")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.error: ProtocolError | None = None
        #: The bytes of a frame that is not whole, its length included. While there are none, whoever sees that what
        #: comes is just one frame need not feed it.
        self.held = bytearray()
        self._need = 4  # how many bytes `held` must reach before it is worth a look

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self.held)

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies of all frames that `data` completes, in order.

        A length below zero or above the limit: frames that came before it are returned, `error` is set, and the next
        call raises it; if none came before it, this call raises it.
        """
        if self.error is not None:
            raise self.error
        held = self.held
        if held:
            held += data
            if len(held) < self._need:
                return []
            data = bytes(held)
            held.clear()
        frames: list[bytes] = []
        at, size = 0, len(data)
        need = 4
        while at + 4 <= size:
            length: int = _LENGTH.unpack_from(data, at)[0]
            if not 0 <= length <= self.limit:
                self.error = ProtocolError(f"frame length {length} is not between 0 and {self.limit}")
                if not frames:
                    raise self.error
                return frames
            end = at + 4 + length
            if end > size:
                need = 4 + length
                break
            frames.append(data[at + 4 : end])
            at = end
        if at < size:
            held += data[at:]
        self._need = need
        return frames
