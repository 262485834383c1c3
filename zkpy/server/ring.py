"""Many sends, or many receives, in one system call: the kernel's io_uring, spoken to with `mmap` and `ctypes`.

    fds, lengths ─→ submission entries ─ one io_uring_enter ─→ completion entries ─→ results, in the same order

A system call has a price of its own, for small packets as high as that of the work it asks for. Here a whole turn's
work is asked for at once, and the price is paid once. Nothing waits: each entry does what a call with MSG_DONTWAIT
does, at once, and is finished when `io_uring_enter` returns. Where the kernel has no io_uring, or does not let us use
it, making a ring raises OSError, and sockets are called one by one as ever. Layouts and numbers: io_uring(7) and
<linux/io_uring.h>, Linux 5.7 or later.
"""

import ctypes
import errno
import mmap
import os
import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate
from socket import MSG_DONTWAIT, MSG_NOSIGNAL
from typing import Final

#: Numbers of the system calls, the same for all processors.
_SETUP: Final = 425
_ENTER: Final = 426
_SEND: Final = 26
_RECEIVE: Final = 27
#: Where, as offsets of mmap, a ring has its two queues and its submission entries.
_QUEUES: Final = 0
_ENTRIES: Final = 0x10000000
#: What a kernel must be able to do: both queues in one mapping (5.4), and what came with SEND and RECEIVE (5.7).
_SINGLE_MAPPING: Final = 1 << 0
_FAST_POLL: Final = 1 << 5
_GET_EVENTS: Final = 1
#: io_uring_params: entries of both queues, flags, features, and where in the mapping the queues have what.
_PARAMETERS: Final = struct.Struct("=10I")
_PARAMETERS_SIZE: Final = 120
_OFFSETS: Final = struct.Struct("=7I")
_SUBMISSION_OFFSETS_AT: Final = 40
_COMPLETION_OFFSETS_AT: Final = 80
#: One submission entry: opcode, flags, priority, fd, offset, address, length, the flags of send(2), user data.
_ENTRY: Final = struct.Struct("=BBHi QQ II Q 24x")
_COMPLETION_SIZE: Final = 16
_U32: Final = 0xFFFFFFFF
_AGAIN: Final = (errno.EINTR, errno.EAGAIN, errno.EBUSY)


class Ring:
    """One io_uring whose entries are all of one operation."""

    def __init__(self, opcode: int, flags: int, size: int) -> None:
        """Room for `size` (a power of two) operations at once. Raises OSError if there is no io_uring to be had."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._call = libc.syscall
        self._call.restype = ctypes.c_long
        self._call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_void_p]
        parameters = ctypes.create_string_buffer(_PARAMETERS_SIZE)
        self._fd = self._call(_SETUP, size, ctypes.addressof(parameters), None)
        if self._fd < 0:
            raise _last_error("io_uring_setup")
        self._call.argtypes = [ctypes.c_long] * 7
        entries, completions, _, _, _, features, *_ = _PARAMETERS.unpack_from(parameters)
        if ~features & (_SINGLE_MAPPING | _FAST_POLL) or entries != size:
            os.close(self._fd)
            raise OSError(errno.ENOSYS, "io_uring is too old")
        submission = _OFFSETS.unpack_from(parameters, _SUBMISSION_OFFSETS_AT)
        completion = _OFFSETS.unpack_from(parameters, _COMPLETION_OFFSETS_AT)
        length = max(submission[6] + 4 * entries, completion[5] + _COMPLETION_SIZE * completions)
        try:
            self._queues = mmap.mmap(self._fd, length, offset=_QUEUES)
            self._entries = mmap.mmap(self._fd, _ENTRY.size * entries, offset=_ENTRIES)
        except OSError:
            os.close(self._fd)
            raise
        self.size = size
        self._words = memoryview(self._queues).cast("I")
        self._head_at, self._tail_at = submission[0] // 4, submission[1] // 4
        self._seen_at, self._done_at = completion[0] // 4, completion[1] // 4
        # Each submission begins with the first entry, wherever in its queue it is.
        self._order = self._words[submission[6] // 4 : submission[6] // 4 + entries]
        self._numbers = array("I", range(size))
        first, last = completion[5] // 4, completion[5] // 4 + completions * _COMPLETION_SIZE // 4
        self._of = self._words[first:last:4]
        self._results = memoryview(self._queues).cast("i")[first + 2 : last : 4]
        self._completions = completions
        for number in range(size):
            _ENTRY.pack_into(self._entries, number * _ENTRY.size, opcode, 0, 0, -1, 0, 0, 0, flags, number)
        whole = memoryview(self._entries)
        #: The fields of all entries that change from one submission to the next.
        self.fds = whole.cast("i")[1 :: _ENTRY.size // 4]
        self.addresses = whole.cast("Q")[2 :: _ENTRY.size // 8]
        self.lengths = whole.cast("I")[6 :: _ENTRY.size // 4]

    def close(self) -> None:
        """Give it back to the kernel; nothing may be under way."""
        os.close(self._fd)
        for view in (self.fds, self.addresses, self.lengths, self._order, self._of, self._results, self._words):
            view.release()
        self._queues.close()
        self._entries.close()

    def submit(self, count: int) -> list[int]:
        """Do what the first `count` entries say; the result of each, negative for an errno. Raises OSError."""
        words, size = self._words, self.size
        tail = words[self._tail_at]
        at = tail & (size - 1)
        here = min(count, size - at)
        self._order[at : at + here] = self._numbers[:here]
        self._order[: count - here] = self._numbers[here:count]
        words[self._tail_at] = tail = (tail + count) & _U32
        seen = words[self._seen_at]
        while (done := (words[self._done_at] - seen) & _U32) != count:
            left = (tail - words[self._head_at]) & _U32
            entered = self._call(_ENTER, self._fd, left, count - done, _GET_EVENTS, 0, 0)
            if entered < 0 and ctypes.get_errno() not in _AGAIN:
                raise _last_error("io_uring_enter")
        at = seen & (self._completions - 1)
        here = min(count, self._completions - at)
        results = self._results[at : at + here].tolist() + self._results[: count - here].tolist()
        of = self._of[at : at + here].tolist() + self._of[: count - here].tolist()
        words[self._seen_at] = words[self._done_at]
        if of != list(range(count)):
            results = [result for _, result in sorted(zip(of, results, strict=True))]
        return results


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


class Receiver:
    """Receives from many sockets at once."""

    #: Bytes taken from a socket; who has said more has more to say.
    ROOM: Final = 4096

    def __init__(self, most: int) -> None:
        """For up to `most` (a power of two) sockets at once. Raises OSError if there is no io_uring to be had."""
        self._ring = Ring(_RECEIVE, MSG_DONTWAIT, most)
        self._room = mmap.mmap(-1, most * self.ROOM)
        self._held = ctypes.c_char.from_buffer(self._room)
        first = ctypes.addressof(self._held)
        self._ring.addresses[:] = array("Q", range(first, first + most * self.ROOM, self.ROOM))
        self._ring.lengths[:] = array("I", [self.ROOM] * most)

    def receive(self, fds: Sequence[int]) -> list[bytes | None]:
        """What each has said, b"" at its end; None if recv(2) would fail. Raises OSError."""
        count = len(fds)
        self._ring.fds[:count] = array("i", fds)
        room, at = self._room, 0
        told: list[bytes | None] = []
        for size in self._ring.submit(count):
            told.append(room[at : at + size] if size >= 0 else None)
            at += self.ROOM
        return told

    def close(self) -> None:
        """Give everything back."""
        self._ring.close()
        del self._held
        self._room.close()


class Sender:
    """Sends to many sockets at once."""

    def __init__(self, most: int) -> None:
        """For up to `most` (a power of two) sockets at once. Raises OSError if there is no io_uring to be had."""
        self._ring = Ring(_SEND, MSG_DONTWAIT | MSG_NOSIGNAL, most)
        self.most = most

    def send(self, fds: Sequence[int], lengths: list[int], parts: list[bytes]) -> list[tuple[int, bytes, int]]:
        """Send the next `lengths` bytes of `parts` to each of `fds`.

        Returns place in `fds`, unsent rest, and errno (0 if the kernel took no more) of what was not sent whole. Raises
        OSError: whoever was to be sent something has got some of it, or all, or nothing.
        """
        count = len(fds)
        data = b"".join(parts)
        ring = self._ring
        ring.fds[:count] = array("i", fds)
        ring.lengths[:count] = array("I", lengths)
        first = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        ring.addresses[:count] = array("Q", accumulate(lengths[:-1], initial=first))
        results = ring.submit(count)
        if results == lengths:
            return []
        rests = []
        end = 0
        for place, (sent, length) in enumerate(zip(results, lengths, strict=True)):
            end += length
            if sent != length:
                number = -sent if sent < 0 and -sent not in _AGAIN else 0
                rests.append((place, data[end - length + max(sent, 0) : end], number))
        return rests

    def close(self) -> None:
        """Give everything back."""
        self._ring.close()
