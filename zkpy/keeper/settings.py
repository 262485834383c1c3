"""What the service needs to know of the configuration; each field's Apache key stands beside it."""

import attrs


@attrs.frozen
class Settings:
    """Limits and switches of the service. Times in milliseconds, sizes in bytes; 0 or -1 means off where it says so."""

    server_id: int = 1  # myid; a standalone server makes its session ids as server 1
    leader_serves: bool = True  # leaderServes: are clients served here while this server leads?
    read_only_mode: bool = False  # readonlymode.enabled: serve readers while there is no leader?
    local_sessions: bool = False  # localSessionsEnabled; of members of an ensemble
    local_sessions_upgrading: bool = False  # localSessionsUpgradingEnabled
    tick_time_ms: int = 3000  # tickTime
    min_session_timeout_ms: int = 6000  # minSessionTimeout
    max_session_timeout_ms: int = 60000  # maxSessionTimeout
    max_frame: int = 0xFFFFF  # jute.maxbuffer
    four_letter_words: frozenset[str] = frozenset(("srvr",))  # 4lw.commands.whitelist; "*" in it = all
    enforce_quota: bool = False  # enforceQuota
    skip_acl: bool = False  # skipACL
    super_digest: str | None = None  # DigestAuthenticationProvider.superDigest
    digest_algorithm: str = "SHA1"  # DigestAuthenticationProvider.digestAlg
    digest_auth_enabled: bool = True  # DigestAuthenticationProvider.enabled
    reconfig_enabled: bool = False  # reconfigEnabled
    close_session_txn_enabled: bool = True  # closeSessionTxn.enabled
    large_request_threshold: int = -1  # largeRequestThreshold, -1 = off
    large_request_max_bytes: int = 100 * 1024 * 1024  # largeRequestMaxBytes
    sessionless_timeout_ms: int = 10000  # nio.sessionlessCnxnTimeout
    container_check_interval_ms: int = 60000  # znode.container.checkIntervalMs
    container_max_per_minute: int = 10000  # znode.container.maxPerMinute
    container_max_never_used_ms: int = 0  # znode.container.maxNeverUsedIntervalMs, 0 = never
    enforce_auth_schemes: tuple[str, ...] = ()  # enforce.auth.enabled with enforce.auth.schemes; () = off
    throttle_tokens: int = 0  # connection_throttle_tokens, 0 = off
    throttle_fill_ms: int = 1  # connection_throttle_fill_time
    throttle_fill_count: int = 1  # connection_throttle_fill_count
