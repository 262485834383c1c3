"""What keeps a server from starting, beside its data directory (`zkpy.storage.errors`)."""


class ConfigError(Exception):
    """The configuration cannot be used; the text says what is wrong, where, and what would be right."""


class ListenError(Exception):
    """A port cannot be listened on; the text says where, why, and what to do."""


class ElectionPortError(ListenError):
    """The election port of a member cannot be listened on."""
