"""zoo.cfg and flags → Config.

A file is read as Apache reads it (`properties`), every key of 3.9 is known (`settings`). Where Apache takes a wrong
value for the default in silence, this refuses it, naming key, value, file and line. One default is ours: old snapshots
and logs are purged every hour unless `autopurge.purgeInterval` says otherwise (Apache: never).
"""

import difflib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from zkpy.server import properties, settings
from zkpy.server.errors import ConfigError
from zkpy.server.membership import PREFIXES, Line, Membership, read_membership
from zkpy.server.settings import KEYS, OWN, PREFIX, SYSTEM, Key

#: Environment variables whose -D options Apache's scripts pass to the server, the stronger one last (zkServer.sh).
FLAG_VARIABLES: Final = ("SERVER_JVMFLAGS", "JVMFLAGS")

MAX_INT: Final = (1 << 31) - 1
MAX_LONG: Final = (1 << 63) - 1
RELATIVE: Final = "is relative to the working directory: an absolute path is safer"
#: Sign, hexadecimal, octal and decimal digits.
_DECIMAL: Final = re.compile("([+-]?)()()([0-9]+)")
_FLOAT: Final = re.compile(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})")
_HEX: Final = re.compile("[0-9a-fA-F]{1,16}")
_DECODED: Final = re.compile("([+-]?)(?:(?:0[xX]|#)([0-9a-fA-F]+)|0([0-7]+)|(0|[1-9][0-9]*))")


@attrs.frozen
class Config:
    """What a server is to do. Beside each field: its unit and Apache's key."""

    data_dir: Path  # dataDir
    data_log_dir: Path  # dataLogDir, by default dataDir
    client_port: int = 2181  # clientPort; 0 = any free one
    client_address: str = ""  # clientPortAddress; "" = all addresses
    listen_backlog: int = -1  # clientPortListenBacklog; -1 = the server's choice
    tick_time_ms: int = 3000  # tickTime
    min_session_timeout_ms: int = 6000  # minSessionTimeout, by default 2 ticks
    max_session_timeout_ms: int = 60000  # maxSessionTimeout, by default 20 ticks
    max_client_cnxns: int = 60  # maxClientCnxns, per address; 0 = no limit
    max_cnxns: int = 0  # maxCnxns, in all; 0 = no limit
    tcp_keepalive: bool = False  # clientTcpKeepAlive
    sessionless_timeout_ms: int = 10000  # nio.sessionlessCnxnTimeout
    four_letter_whitelist: frozenset[str] = frozenset(("srvr",))  # 4lw.commands.whitelist; "*" in it = all
    jute_maxbuffer: int = 0xFFFFF  # jute.maxbuffer, bytes
    jute_extrasize: int = 0xFFFFF  # jute.maxbuffer.extrasize, bytes; by default jute.maxbuffer
    global_outstanding_limit: int = 1000  # globalOutstandingLimit, requests
    large_request_threshold: int = -1  # largeRequestThreshold, bytes; -1 = off
    large_request_max_bytes: int = 100 * 1024 * 1024  # largeRequestMaxBytes
    connection_throttle_tokens: int = 0  # connection_throttle_tokens; 0 = off
    connection_throttle_fill_ms: int = 1  # connection_throttle_fill_time
    connection_throttle_fill_count: int = 1  # connection_throttle_fill_count
    enforce_quota: bool = False  # enforceQuota
    skip_acl: bool = False  # skipACL
    super_digest: str | None = None  # DigestAuthenticationProvider.superDigest
    digest_alg: str = "SHA1"  # DigestAuthenticationProvider.digestAlg
    digest_auth_enabled: bool = True  # DigestAuthenticationProvider.enabled
    enforce_auth_enabled: bool = False  # enforce.auth.enabled
    enforce_auth_schemes: tuple[str, ...] = ()  # enforce.auth.schemes
    extended_types_enabled: bool = False  # extendedTypesEnabled: TTL nodes
    container_check_interval_ms: int = 60000  # znode.container.checkIntervalMs
    container_max_per_minute: int = 10000  # znode.container.maxPerMinute
    container_max_never_used_ms: int = 0  # znode.container.maxNeverUsedIntervalMs; 0 = never
    reconfig_enabled: bool = False  # reconfigEnabled
    standalone_enabled: bool = True  # standaloneEnabled
    close_session_txn_enabled: bool = True  # closeSessionTxn.enabled
    digest_enabled: bool = True  # digest.enabled
    serialize_last_processed_zxid: bool = True  # serializeLastProcessedZxid.enabled
    snap_count: int = 100000  # snapCount, txns
    snap_size_limit_kb: int = 4194304  # snapSizeLimitInKb; 0 or less = off
    txn_log_size_limit_kb: int = -1  # txnLogSizeLimitInKb; -1 = off
    pre_alloc_kb: int = 65536  # preAllocSize
    force_sync: bool = True  # forceSync
    fsync_warning_threshold_ms: int = 1000  # fsync.warningthresholdms
    snapshot_trust_empty: bool = False  # snapshot.trust.empty
    snapshot_compression: str = ""  # snapshot.compression.method: "", "gz", "snappy"
    datadir_autocreate: bool = True  # datadir.autocreate
    db_autocreate: bool = True  # db.autocreate
    purge_interval_hours: int = 1  # autopurge.purgeInterval; 0 = off (Apache's default)
    snap_retain_count: int = 3  # autopurge.snapRetainCount
    # Of an ensemble; without members the server is a standalone one, and the rest says nothing.
    members: Membership | None = None  # server.N, group.G, weight.N
    sid: int = 1  # the file myid
    init_limit: int = 0  # initLimit, ticks
    sync_limit: int = 0  # syncLimit, ticks
    connect_limit: int = 0  # connectToLearnerMasterLimit, ticks; 0 = initLimit
    dynamic_config_file: Path | None = None  # dynamicConfigFile
    peer_type: str = ""  # peerType
    quorum_listen_on_all: bool = False  # quorumListenOnAllIPs
    quorum_keepalive: bool = False  # tcpKeepAlive
    election_connect_ms: int = 5000  # cnxTimeout
    election_greeting_ms: int = -1  # quorumCnxnTimeoutMs; -1 = tickTime * syncLimit
    election_bind_tries: int = 3  # electionPortBindRetry; 0 = for ever
    min_notification_ms: int = 200  # fastleader.minNotificationInterval
    max_notification_ms: int = 60000  # fastleader.maxNotificationInterval
    leader_serves: bool = True  # leaderServes
    read_only_mode: bool = False  # readonlymode.enabled
    local_sessions: bool = False  # localSessionsEnabled
    local_sessions_upgrading: bool = False  # localSessionsUpgradingEnabled
    max_epoch_wait_ms: int = -1  # leader.maxTimeToWaitForEpoch; -1 = off
    leader_retry_ms: int = 100  # leaderConnectDelayDuringRetryMs
    observer_rest_ms: int = 200  # observer.election.DelayMs, at most
    commit_log_count: int = 500  # commitLogCount, txns
    snapshot_size_factor: float = 0.33  # snapshotSizeFactor; negative = off, 0 = no limit
    force_snap: bool = False  # forceSnapshotSync
    sync_enabled: bool = True  # syncEnabled: do observers keep a log?
    observer_sync_enabled: bool | None = None  # observer.syncEnabled, the stronger of the two

    @classmethod
    def standalone(cls, data_dir: Path, **fields: Any) -> "Config":
        """A server of its own, without a file: on 127.0.0.1 unless `fields` say otherwise."""
        return cls(data_dir=data_dir, **{"data_log_dir": data_dir, "client_address": "127.0.0.1", **fields})


def load_config(path: Path, environ: Mapping[str, str]) -> tuple[Config, list[str]]:
    """The configuration in `path`, and lines for the log. Raises ConfigError for what cannot be used."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: cannot read the configuration file") from error
    try:
        entries = properties.parse(data)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    reader = _Reader(path)
    reader.take_options(environ)
    reader.take_file(entries)
    return reader.finish(), reader.notes


@attrs.frozen
class _Setting:
    """What was written, and where."""

    name: str
    value: str
    where: str


class _Reader:
    """Gathers the fields of a Config from the -D options and one file.

    The stronger setting comes later and replaces the weaker: -D options, then the file; but what Apache takes from -D
    alone stays as it is there. In the file the last of equal names counts, and `zookeeper.X` (which means nothing to
    Apache) is weaker than `X`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.fields: dict[str, Any] = {}
        self._settings: dict[str, _Setting] = {}  # by the key's own name
        self._places: dict[str, str] = {}  # field → where it was set
        self._members: list[Line] = []
        if not path.is_absolute():
            self.notes.append(f"{path} {RELATIVE}")

    def take_options(self, environ: Mapping[str, str]) -> None:
        """The -D options. The JVM's own and other programs' are none of our business."""
        for setting in _options(environ).values():
            name = setting.name
            plain = name.removeprefix(PREFIX)
            key = KEYS.get(plain)
            if key is None:
                if plain != name:
                    self._note_unknown(setting)
            elif key.where == OWN:
                self._note_without_effect(setting, f"{plain} is read from the configuration file alone")
            elif name in key.option_names:
                self._settings[key.name] = setting
            else:
                self._note_without_effect(setting, f"the option is spelled -D{key.option_names[0]}")

    def take_file(self, entries: list[properties.Entry]) -> None:
        """The file's entries."""
        last = {entry.key.strip(): entry for entry in entries}
        for name, entry in sorted(last.items(), key=lambda item: not item[0].startswith(PREFIX)):
            setting = _Setting(name, entry.value.strip(), f"{self.path}, line {entry.line}")
            key = KEYS.get(name)
            if key is None and name.startswith(PREFIXES):
                self._members.append(Line(name, setting.value, setting.where))
                continue
            if key is None and name.startswith(PREFIX):
                key = KEYS.get(name.removeprefix(PREFIX))
            if key is None or (key.where == OWN and name != key.name):
                self._note_unknown(setting)
            elif key.where == SYSTEM and key.name in self._settings:
                self._note_without_effect(setting, f"the option -D{key.option_names[0]} is stronger")
            else:
                self._settings.pop(key.name, None)  # so that the order is the file's
                self._settings[key.name] = setting

    def finish(self) -> Config:
        for name, setting in self._settings.items():
            self._apply(KEYS[name], setting)
        fields = self.fields
        self._take_members()
        if "data_dir" not in fields:
            raise ConfigError(f"{self.path}: dataDir is not set: add a line such as dataDir=/var/lib/zookeeper")
        if fields.get("members") is not None:
            self._find_myself(fields["members"])
        if "client_port" not in fields:
            raise ConfigError(
                f"{self.path}: clientPortAddress is set but clientPort is not set"
                if "client_address" in fields
                else f"{self.path}: clientPort is not set: add a line such as clientPort=2181"
            )
        fields.setdefault("data_log_dir", fields["data_dir"])
        tick_ms = fields.get("tick_time_ms", 3000)
        for field, ticks in (("min_session_timeout_ms", 2), ("max_session_timeout_ms", 20)):
            if fields.get(field, -1) == -1:
                fields[field] = tick_ms * ticks
        if fields["min_session_timeout_ms"] > fields["max_session_timeout_ms"]:
            raise ConfigError(
                f"{self.path}: minSessionTimeout must not be larger than maxSessionTimeout"
                f" ({fields['min_session_timeout_ms']} > {fields['max_session_timeout_ms']} ms)"
            )
        for name, field, least in (
            ("autopurge.snapRetainCount", "snap_retain_count", 3),
            ("snapCount", "snap_count", 2),
            ("commitLogCount", "commit_log_count", 500),
        ):
            if fields.get(field, least) < least:
                self.notes.append(f"{self._places[field]}: {name}={fields[field]} is raised to {least}, the least")
                fields[field] = least
        if fields.get("snapshot_size_factor", 0) > 1:
            self.notes.append(f"{self._places['snapshot_size_factor']}: snapshotSizeFactor is at most 1: 0.33 is taken")
            fields["snapshot_size_factor"] = 0.33
        for field in ("purge_interval_hours", "max_client_cnxns", "max_cnxns"):
            if field in fields:  # Apache takes any negative number for none
                fields[field] = max(0, fields[field])
        if "four_letter_whitelist" in fields:
            fields["four_letter_whitelist"] = frozenset(fields["four_letter_whitelist"])
        if fields.get("read_only_mode"):  # whose clients ask for isro, to find a server that is not
            allowed = fields.get("four_letter_whitelist", frozenset(("srvr",)))
            fields["four_letter_whitelist"] = allowed | {"isro"}
        if fields.get("enforce_auth_enabled"):
            schemes = fields.get("enforce_auth_schemes", ())
            known = {"ip", "digest"} if fields.get("digest_auth_enabled", True) else {"ip"}
            if not schemes or not set(schemes) <= known:
                raise ConfigError(
                    f"{self._places['enforce_auth_enabled']}: enforce.auth.enabled needs enforce.auth.schemes to list"
                    f" schemes of this server ({', '.join(sorted(known))}), not {','.join(schemes) or 'nothing'!r}"
                )
        fields.setdefault("jute_extrasize", max(1024, fields.get("jute_maxbuffer", 0xFFFFF)))
        return Config(**fields)

    def _apply(self, key: Key, setting: _Setting) -> None:
        parsed = _parse(key, setting)
        if key.field is None:
            self._note_without_effect(setting, key.why)
            return
        self.fields[key.field] = parsed
        self._places[key.field] = setting.where
        if isinstance(parsed, Path) and not parsed.is_absolute():
            self.notes.append(f"{setting.where}: {setting.name}={parsed} {RELATIVE}")

    def _note_without_effect(self, setting: _Setting, why: str) -> None:
        self.notes.append(f"{setting.where}: {setting.name} has no effect: {why}")

    def _note_unknown(self, setting: _Setting) -> None:
        plain = setting.name.removeprefix(PREFIX)
        for prefix, why in settings.FAMILIES.items():
            if plain.startswith(prefix):
                self._note_without_effect(setting, why)
                return
        near = difflib.get_close_matches(plain, KEYS, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        self.notes.append(f"{setting.where}: {setting.name} is not a key of ZooKeeper 3.9 and has no effect{hint}")

    def _take_members(self) -> None:
        """The ensemble, if there is one; a lone server line is taken as Apache takes it, for a standalone server."""
        fields = self.fields
        lines, version = self._members, 0
        dynamic = fields.get("dynamic_config_file")
        if dynamic is not None:
            if lines:
                raise ConfigError(
                    f"{lines[0].where}: parameter: {lines[0].name} must be in a separate dynamic config file, since"
                    f" dynamicConfigFile={dynamic} is set ({self._places['dynamic_config_file']})"
                )
            lines, version = self._read_dynamic(dynamic)
        members = read_membership(lines, version)
        places = {line.name: line for line in lines}
        voters = members.voters
        observers = [places[f"server.{sid}"] for sid in members.servers if sid not in voters]
        is_alone_allowed = fields.get("standalone_enabled", True)
        if len(voters) > 1 or (voters and not is_alone_allowed):
            fields["members"] = members
            if len(voters) == 2:
                self.notes.append(f"{self.path}: No server failure will be tolerated. You need at least 3 servers.")
            elif len(voters) % 2 == 0:
                self.notes.append(f"{self.path}: Non-optimal configuration, consider an odd number of servers.")
            return
        if observers:
            what = "quorum" if voters else "participants"
            raise ConfigError(f"{observers[0].where}: Observers w/o {what} is an invalid configuration")
        if not is_alone_allowed:
            raise ConfigError(
                f"{self.path}: standaloneEnabled = false then number of participants should be >0: add server lines"
            )
        for line in lines:
            if not line.name.startswith("server."):
                self.notes.append(f"{line.where}: {line.name} has no effect: it concerns ensembles")
        for sid in voters:
            line = places[f"server.{sid}"]
            self.notes.append(f"{line.where}: Invalid configuration, only one server specified (ignoring {line.name})")
            # Apache listens for no clients then; whoever wrote an address meant it.
            self._take_client_address(members, sid)

    def _read_dynamic(self, path: Path) -> tuple[list[Line], int]:
        """The lines of a dynamicConfigFile, and the version that its name ends with."""
        place = self._places["dynamic_config_file"]
        try:
            entries = properties.parse(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{place}: dynamicConfigFile={path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
        lines = {}
        for entry in entries:
            line = Line(entry.key.strip(), entry.value.strip(), f"{path}, line {entry.line}")
            if line.name == "version":
                raise ConfigError(f"{line.where}: dynamic file shouldn't have version inside: remove the line")
            if not line.name.startswith(PREFIXES):
                raise ConfigError(f"{line.where}: Unrecognised parameter: {line.name}: it belongs into {self.path}")
            lines[line.name] = line
        suffix = path.name.rpartition(".")[2] if "." in path.name else ""
        return list(lines.values()), int(suffix, 16) if _HEX.fullmatch(suffix) else 0

    def _find_myself(self, members: Membership) -> None:
        """Which of the members this server is."""
        fields = self.fields
        for name, field in (("initLimit", "init_limit"), ("syncLimit", "sync_limit")):
            if not fields.get(field):
                raise ConfigError(
                    f"{self.path}: {name} is not set: a member of an ensemble needs it; add a line such as {name}=10"
                )
        path = fields["data_dir"] / "myid"
        try:
            text = path.read_text("utf-8", "replace").partition("\n")[0].strip()
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: myid file is missing: write this server's number in the ensemble into it, one of"
                f" {', '.join(map(str, members.servers))}"
            ) from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}: cannot read it") from error
        sid = _integer(text, is_decimal=True)
        if sid is None:
            raise ConfigError(f"{path}: serverid {text!r} is not a number")
        if sid not in members.servers:
            raise ConfigError(
                f"{path}: My id {sid} not in the peer list: the members in {self.path} are"
                f" {', '.join(map(str, members.servers))}"
            )
        fields["sid"] = sid
        is_observer = members.servers[sid].is_observer
        said = fields.get("peer_type", "")
        if said and (said == "observer") != is_observer:
            role = "observer" if is_observer else "participant"
            self.notes.append(
                f"{self._places['peer_type']}: peerType={said} has no effect: by its server line server {sid} is"
                f" {'an' if is_observer else 'a'} {role}"
            )
        self._take_client_address(members, sid)

    def _take_client_address(self, members: Membership, sid: int) -> None:
        """Where a server line says that clients are served; clientPort may say the same."""
        fields = self.fields
        client = members.servers[sid].client
        if client is None:
            return
        host = "" if client[0] in ("0.0.0.0", "::") else client[0]
        if "client_port" not in fields:
            fields["client_port"] = client[1]
            fields.setdefault("client_address", host)
        elif fields.get("members") is not None and (
            fields["client_port"] != client[1] or fields.get("client_address", host) != host
        ):
            raise ConfigError(
                f"{self._places['client_port']}: client address for this server (id = {sid}) in static config file is"
                f" {fields.get('client_address', '')}:{fields['client_port']} is different from client address found in"
                f" its server line: {client[0]}:{client[1]}: remove one of them"
            )


def _options(environ: Mapping[str, str]) -> dict[str, _Setting]:
    """The -D options in the environment, by name; the last of equal names counts."""
    found = {}
    for variable in FLAG_VARIABLES:
        try:
            words = shlex.split(environ.get(variable, ""))
        except ValueError as error:
            raise ConfigError(f"environment variable {variable}: {error}") from error
        for word in words:
            if word.startswith("-D"):
                name, _, value = word[2:].partition("=")
                found[name] = _Setting(name, value, f"environment variable {variable}")
    return found


def _integer(text: str, *, is_decimal: bool) -> int | None:
    """`text` as Java's Integer.parseInt reads it, or else its Integer.decode: also 0x1f, #1f and 017."""
    match = (_DECIMAL if is_decimal else _DECODED).fullmatch(text)
    if match is None:
        return None
    sign, hexadecimal, octal, decimal = match.groups()
    digits, base = (hexadecimal, 16) if hexadecimal else (octal, 8) if octal else (decimal, 10)
    return int(sign + digits, base)


def _parse(key: Key, setting: _Setting) -> Any:
    """The value as the key's kind. Raises ConfigError with key, value, place and what would be right."""
    name, value = setting.name, setting.value

    def wrong(right: str) -> ConfigError:
        return ConfigError(f"{setting.where}: {name}={value}: {right}")

    if key.kind in ("int", "long"):
        number = _integer(value, is_decimal=key.where == OWN)
        if number is None:
            raise wrong("it must be a whole number")
        largest = MAX_INT if key.kind == "int" else MAX_LONG
        low = -largest - 1 if key.low is None else key.low
        high = largest if key.high is None else key.high
        if not low <= number <= high:
            raise wrong(f"it must be at least {low}" if number < low else f"it must be at most {high}")
        return number
    if key.kind == "float":
        if _FLOAT.fullmatch(value) is None:
            raise wrong("it must be a number such as 0.33")
        return float(value)
    lowered = value.lower()
    if key.kind in ("bool", "flag"):
        if lowered not in ("true", "false"):
            raise wrong(f"Invalid option {value} for {name}. Choose 'true' or 'false.'")
        return lowered == "true"
    if key.kind in ("yes", "on"):
        if lowered not in ("yes", "no"):
            raise wrong("it must be yes or no")
        return lowered == "yes"
    if key.kind == "choice":
        for choice in key.choices:
            if choice.lower() == lowered:
                return choice
        raise wrong(f"it must be one of {', '.join(choice or 'nothing at all' for choice in key.choices)}")
    if key.kind == "words":
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if key.kind == "path":
        try:
            is_path = value != "" and b"\0" not in os.fsencode(value)
        except UnicodeEncodeError:
            is_path = False
        if not is_path:
            raise wrong("it must name a directory or file")
        return Path(value)
    return value
