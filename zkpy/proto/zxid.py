"""A zxid is one number with two parts: the epoch (which leader's reign) above, the counter (which txn of it) below.

63            32 31             0
|    epoch      |    counter    |        a signed long on the wire
"""

from __future__ import annotations

from typing import Final

# A leader that has used up its counters must step down: the next zxid would be another epoch's.
COUNTER_MAX: Final = 0xFFFFFFFF
# The greatest epoch that a zxid, a signed number, can have.
EPOCH_MAX: Final = 0x7FFFFFFF


def epoch_of(zxid: int) -> int:
    """The epoch; negative for a negative zxid, as in Apache's `ZxidUtils`."""
    return zxid >> 32


def counter_of(zxid: int) -> int:
    """The counter, 0 to COUNTER_MAX."""
    return zxid & COUNTER_MAX


def make_zxid(epoch: int, counter: int) -> int:
    """The zxid of a counter in an epoch."""
    assert 0 <= counter <= COUNTER_MAX, f"counter {counter} out of range"
    return epoch << 32 | counter


def zxid_text(zxid: int) -> str:
    """For logs and answers: 0x and hexadecimal without leading zeros; a negative one in two's complement."""
    return f"0x{zxid & 0xFFFFFFFFFFFFFFFF:x}"
