"""A bucket of tokens that new connections draw from; off unless it is given a size. Source: BlueThrottle."""


class ConnectionThrottle:
    """`tokens` at most, refilled by `fill_count` every `fill_ms` milliseconds; 0 tokens = no limit."""

    __slots__ = ("_filled_ms", "_left", "fill_count", "fill_ms", "tokens")

    def __init__(self, tokens: int, fill_ms: int, fill_count: int, now_ms: int) -> None:
        self.tokens = tokens
        self.fill_ms = max(1, fill_ms)
        self.fill_count = fill_count
        self._left = tokens
        self._filled_ms = now_ms

    def admits(self, now_ms: int) -> bool:
        """Take a token for one connection; False if there is none."""
        if self.tokens <= 0:
            return True
        periods = (now_ms - self._filled_ms) // self.fill_ms
        if periods > 0:
            self._left = min(self.tokens, self._left + periods * self.fill_count)
            self._filled_ms += periods * self.fill_ms
        if self._left < 1:
            return False
        self._left -= 1
        return True
