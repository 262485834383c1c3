"""Configuration files of the tests: what is read from them. The directory that they lie in is left out of all texts."""

from pathlib import Path
from typing import Any

import pytest

from zkpy.server.config import Config, ConfigError, load_config

#: What every file holds that is given as entries, unless they say otherwise.
BASE = {"dataDir": "/data", "clientPort": "2181"}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """read(text or entries, options) → Config and notes. Entries come on top of BASE; the file is zoo.cfg."""

    def read(content: str | dict[str, str], options: str = "", **environ: str) -> tuple[Config, list[str]]:
        if isinstance(content, dict):
            content = "".join(f"{key}={value}\n" for key, value in {**BASE, **content}.items())
        path = tmp_path / "zoo.cfg"
        path.write_text(content, encoding="iso-8859-1")
        try:
            config, notes = load_config(path, {"SERVER_JVMFLAGS": options, **environ})
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{tmp_path}/", "")) from None
        return config, [note.replace(f"{tmp_path}/", "") for note in notes]

    return read


@pytest.fixture
def refusal(read: Any) -> Any:
    """refusal(text or entries, options) → what they are refused with."""

    def refusal(*arguments: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            read(*arguments)
        return str(caught.value)

    return refusal
