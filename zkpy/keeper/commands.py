"""Four-letter words, placeholder until the real ones land."""

from typing import Any, Final

WORDS: Final[dict[bytes, str]] = {b"srvr": "srvr", b"ruok": "ruok"}


def run(keeper: Any, client: Any, word: str, rest: bytes) -> bytes | None:
    return b"imok" if word == "ruok" else b"Zookeeper version: 3.9.5-zkpy, built on 2026\nMode: standalone\n"
