"""Every key of zoo.cfg in 3.9: what it means here, or why it means nothing here.

    own        a field of Apache's QuorumPeerConfig: in the file only
    property   in Apache a Java system property `zookeeper.<key>`: in the file by either spelling, or as -D option
    system     in Apache a Java system property <key> and nothing else: here in the file by either spelling too

`field` names the field of `zkpy.server.config.Config`; a key without one is accepted and has no effect, `why` says so
in the log. Sources: QuorumPeerConfig.parseProperties, and the class that reads each property.
"""

from typing import Final

import attrs

OWN: Final = "own"
PROPERTY: Final = "property"
SYSTEM: Final = "system"

#: What Apache puts before a key to make it a system property.
PREFIX: Final = "zookeeper."


@attrs.frozen
class Key:
    """One key. `low` and `high` bound a number, inclusively. `kind`:

    int, long   32 and 64 bits                         str, path   text
    float       a decimal number
    bool, flag  true or false                          words       a comma list
    yes, on     yes or no                              choice      one of `choices`

    Of a wrong bool Apache says so; a wrong flag or yes is false to it, and a wrong on is true.
    """

    name: str
    kind: str
    field: str | None = None
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    why: str = ""
    where: str = PROPERTY

    @property
    def option_names(self) -> tuple[str, ...]:
        """What Apache calls it as a -D option, its first choice first."""
        if self.where == OWN:
            return ()
        if self.where == SYSTEM:
            return (self.name,)
        return (PREFIX + self.name, self.name) if self.name == "fsync.warningthresholdms" else (PREFIX + self.name,)


_JVM: Final = "it tunes the Java server"
_QUORUM: Final = "this part of ensembles is not supported yet"
_MASTER: Final = "observers are served by the leader alone: observer masters are not supported yet"
_MEMBER: Final = "a member does without it"
_TLS: Final = "TLS is not supported yet"
_SASL: Final = "SASL is not supported yet"
_ADMIN: Final = "the AdminServer is not supported yet"
_METRICS: Final = "metrics providers are not supported yet"
_AUDIT: Final = "the audit log is not supported yet"
_LOGGING: Final = "the log goes to stderr, with --log-level and --log-json"
_LATER: Final = "it is not supported yet"
_CLIENT: Final = "it is a setting of clients"
_PORT: Final = 65535


def _own(name: str, kind: str, field: str | None = None, low: int | None = None, high: int | None = None) -> Key:
    return Key(name, kind, field, low, high, where=OWN)


def _none(why: str, kind: str, *names: str, where: str = PROPERTY) -> list[Key]:
    return [Key(name, kind, why=why, where=where) for name in names]


_TLS_SUFFIXES: Final = (
    "keyStore.location", "keyStore.password", "keyStore.passwordPath", "keyStore.type",
    "trustStore.location", "trustStore.password", "trustStore.passwordPath", "trustStore.type",
    "protocol", "enabledProtocols", "ciphersuites", "hostnameVerification", "clientHostnameVerification",
    "allowReverseDnsLookup", "crl", "ocsp", "clientAuth", "handshakeDetectionTimeoutMillis", "context.supplier.class",
)  # fmt: skip

KEYS: Final[dict[str, Key]] = {
    key.name: key
    for key in [
        _own("dataDir", "path", "data_dir"),
        _own("dataLogDir", "path", "data_log_dir"),
        _own("clientPort", "int", "client_port", 0, _PORT),
        _own("clientPortAddress", "str", "client_address"),
        _own("clientPortListenBacklog", "int", "listen_backlog"),
        _own("tickTime", "int", "tick_time_ms", 1),
        _own("maxClientCnxns", "int", "max_client_cnxns"),
        _own("minSessionTimeout", "int", "min_session_timeout_ms", -1),
        _own("maxSessionTimeout", "int", "max_session_timeout_ms", -1),
        _own("autopurge.snapRetainCount", "int", "snap_retain_count"),
        _own("autopurge.purgeInterval", "int", "purge_interval_hours"),
        _own("reconfigEnabled", "bool", "reconfig_enabled"),
        _own("standaloneEnabled", "bool", "standalone_enabled"),
        _own("initLimit", "int", "init_limit", 0),
        _own("syncLimit", "int", "sync_limit", 0),
        _own("dynamicConfigFile", "path", "dynamic_config_file"),
        *_none(_TLS, "int", "secureClientPort", where=OWN),
        *_none(_TLS, "str", "secureClientPortAddress", where=OWN),
        *_none(_TLS, "bool", "sslQuorum", "portUnification", "sslQuorumReloadCertFiles", where=OWN),
        *_none(_MASTER, "int", "observerMasterPort", where=OWN),
        _own("connectToLearnerMasterLimit", "int", "connect_limit", 0),
        Key("electionAlg", "int", low=3, high=3, why="there is only this one", where=OWN),
        Key("peerType", "choice", "peer_type", choices=("participant", "observer"), where=OWN),
        _own("quorumListenOnAllIPs", "bool", "quorum_listen_on_all"),
        _own("syncEnabled", "bool", "sync_enabled"),
        *_none("several addresses of a server are always taken", "bool", "multiAddress.enabled", where=OWN),
        *_none("all addresses of a server are tried", "int", "multiAddress.reachabilityCheckTimeoutMs", where=OWN),
        *_none("all addresses of a server are tried", "bool", "multiAddress.reachabilityCheckEnabled", where=OWN),
        *_none(_QUORUM, "str", "oraclePath", where=OWN),
        _own("localSessionsEnabled", "bool", "local_sessions"),
        _own("localSessionsUpgradingEnabled", "bool", "local_sessions_upgrading"),
        *_none(_SASL, "bool", "quorum.auth.enableSasl", "quorum.auth.serverRequireSasl", where=OWN),
        *_none(_SASL, "bool", "quorum.auth.learnerRequireSasl", where=OWN),
        *_none(_SASL, "str", "quorum.auth.server.saslLoginContext", "quorum.auth.learner.saslLoginContext", where=OWN),
        *_none(_SASL, "str", "quorum.auth.kerberos.servicePrincipal", where=OWN),
        *_none(_JVM, "int", "quorum.cnxn.threads.size", where=OWN),
        *_none(_JVM, "bool", "jvm.pause.monitor", where=OWN),
        *_none(_JVM, "long", "jvm.pause.info-threshold.ms", "jvm.pause.warn-threshold.ms", where=OWN),
        *_none(_JVM, "long", "jvm.pause.sleep.time.ms", where=OWN),
        *_none(_METRICS, "str", "metricsProvider.className", where=OWN),
        # Requests, memory, responses
        Key("globalOutstandingLimit", "int", "global_outstanding_limit", 1),
        Key("skipACL", "yes", "skip_acl"),
        Key("enforceQuota", "flag", "enforce_quota"),
        Key("digest.enabled", "flag", "digest_enabled"),
        Key("serializeLastProcessedZxid.enabled", "flag", "serialize_last_processed_zxid"),
        Key("closeSessionTxn.enabled", "flag", "close_session_txn_enabled"),
        Key("extendedTypesEnabled", "flag", "extended_types_enabled"),
        Key("largeRequestMaxBytes", "int", "large_request_max_bytes"),
        Key("largeRequestThreshold", "int", "large_request_threshold"),
        *_none(_QUORUM, "flag", "enableEagerACLCheck"),
        *_none(_SASL, "str", "superUser"),
        *_none("owners are always written as 3.5.4 and later do", "flag", "emulate353TTLNodes"),
        *_none(
            "no request waits in a throttler here", "int", "throttled_op_wait_time", "request_throttle_max_requests"
        ),
        *_none("no request waits in a throttler here", "int", "request_throttle_stall_time"),
        *_none("no request waits in a throttler here", "int", "request_throttler.shutdownTimeout"),
        *_none("no request waits in a throttler here", "flag", "request_throttle_drop_stale"),
        *_none("no request waits in a throttler here", "flag", "request_stale_connection_check"),
        *_none("no request waits in a throttler here", "flag", "request_stale_latency_check"),
        *_none("the cache of encoded answers has a fixed size", "int", "maxResponseCacheSize"),
        *_none("the cache of encoded answers has a fixed size", "int", "maxGetChildrenResponseCacheSize"),
        *_none(_JVM, "int", "intBufferStartingSizeBytes", "bitHashCacheSize"),
        *_none(_LATER, "flag", "pathStats.enabled"),
        *_none(_LATER, "int", "pathStats.slotCapacity", "pathStats.slotDuration", "pathStats.maxDepth"),
        *_none(_LATER, "int", "pathStats.initialDelay", "pathStats.delay", "pathStats.topPathMax"),
        *_none(_LATER, "str", "pathStats.sampleRate"),
        # Log, snapshots, database
        Key("snapCount", "int", "snap_count"),
        Key("snapSizeLimitInKb", "long", "snap_size_limit_kb"),
        Key("txnLogSizeLimitInKb", "long", "txn_log_size_limit_kb"),
        Key("preAllocSize", "long", "pre_alloc_kb", 0),
        Key("forceSync", "on", "force_sync"),
        Key("fsync.warningthresholdms", "long", "fsync_warning_threshold_ms", 0),
        Key("snapshot.trust.empty", "flag", "snapshot_trust_empty"),
        Key("snapshot.compression.method", "choice", "snapshot_compression", choices=("", "gz", "snappy")),
        Key("datadir.autocreate", "flag", "datadir_autocreate"),
        Key("db.autocreate", "flag", "db_autocreate"),
        *_none("a turn is the batch here", "int", "flushDelay", "maxWriteQueuePollTime", "maxBatchSize"),
        Key("commitLogCount", "int", "commit_log_count"),
        Key("snapshotSizeFactor", "float", "snapshot_size_factor"),
        Key("forceSnapshotSync", "flag", "force_snap"),
        *_none(_MEMBER, "flag", "test.allowDiscontinuousProposals"),
        *_none(_LATER, "str", "testingonly.initialZxid"),
        # Connections
        Key("jute.maxbuffer.extrasize", "int", "jute_extrasize", 0),
        Key("maxCnxns", "int", "max_cnxns"),
        Key("4lw.commands.whitelist", "words", "four_letter_whitelist"),
        Key("clientTcpKeepAlive", "flag", "tcp_keepalive"),
        Key("nio.sessionlessCnxnTimeout", "int", "sessionless_timeout_ms", 1),
        Key("tcpKeepAlive", "flag", "quorum_keepalive"),
        *_none(_JVM, "str", "serverCnxnFactory"),
        *_none(_JVM, "int", "nio.numSelectorThreads", "nio.numWorkerThreads", "nio.directBufferBytes"),
        *_none(_JVM, "int", "nio.shutdownTimeout"),
        *_none(_JVM, "flag", "netty.advancedFlowControl.enabled"),
        *_none(_TLS, "int", "netty.server.outstandingHandshake.limit"),
        *_none(_TLS, "flag", "netty.server.earlyDropSecureConnectionHandshakes"),
        *_none(_TLS, "flag", "client.portUnification", "client.certReload", "fips-mode"),
        Key("connection_throttle_tokens", "int", "connection_throttle_tokens", 0),
        Key("connection_throttle_fill_time", "int", "connection_throttle_fill_ms", 1),
        Key("connection_throttle_fill_count", "int", "connection_throttle_fill_count", 1),
        *_none(_LATER, "int", "connection_throttle_freeze_time", "connection_throttle_global_session_weight"),
        *_none(_LATER, "int", "connection_throttle_renew_session_weight", "connection_throttle_local_session_weight"),
        *_none(_LATER, "str", "connection_throttle_drop_increase", "connection_throttle_drop_decrease"),
        *_none(_LATER, "str", "connection_throttle_decrease_ratio"),
        *_none(_LATER, "flag", "connection_throttle_weight_enabled"),
        # Quorum and election
        Key("cnxTimeout", "int", "election_connect_ms", 1),
        Key("quorumCnxnTimeoutMs", "int", "election_greeting_ms"),
        Key("electionPortBindRetry", "int", "election_bind_tries", 0),
        Key("fastleader.minNotificationInterval", "int", "min_notification_ms", 1),
        Key("fastleader.maxNotificationInterval", "int", "max_notification_ms", 1),
        Key("leaderServes", "on", "leader_serves"),
        Key("leader.maxTimeToWaitForEpoch", "int", "max_epoch_wait_ms", -1),
        *_none(_MEMBER, "int", "leader.ackLoggingFrequency"),
        *_none(_QUORUM, "int", "leader.maxConcurrentSnapSyncs", "leader.maxConcurrentDiffSyncs"),
        *_none(_JVM, "flag", "leader.closeSocketAsync", "learner.closeSocketAsync", "learner.asyncSending"),
        Key("leaderConnectDelayDuringRetryMs", "int", "leader_retry_ms", 0),
        *_none(_MASTER, "int", "observerMaster.sizeLimit"),
        *_none("observer.election.DelayMs spreads observers out", "int", "observer.reconnectDelayMs"),
        Key("observer.election.DelayMs", "int", "observer_rest_ms", 0),
        *_none(_MEMBER, "flag", "follower.skipLearnerRequestToNextProcessor"),
        Key("observer.syncEnabled", "flag", "observer_sync_enabled"),
        *_none(_MEMBER, "flag", "forward_learner_requests_to_commit_processor_disabled"),
        *_none(_JVM, "int", "messageTracker.BufferSize", "commitProcessor.numWorkerThreads"),
        *_none(_JVM, "flag", "messageTracker.Enabled"),
        *_none(_JVM, "int", "commitProcessor.maxReadBatchSize", "commitProcessor.maxCommitBatchSize"),
        *_none(_JVM, "int", "commitProcessor.shutdownTimeout"),
        # Watches
        *_none(_JVM, "str", "watchManagerName"),
        *_none(_JVM, "int", "watcherCleanThreshold", "watcherCleanIntervalInSeconds", "watcherCleanThreadsNum"),
        *_none(_JVM, "int", "maxInProcessingDeadWatchers"),
        # Authentication, audit, admin, TLS
        Key("DigestAuthenticationProvider.superDigest", "str", "super_digest"),
        Key("DigestAuthenticationProvider.enabled", "flag", "digest_auth_enabled"),
        Key(
            "DigestAuthenticationProvider.digestAlg",
            "choice",
            "digest_alg",
            choices=("SHA1", "SHA-1", "MD5", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "SHA3-256", "SHA3-512"),
        ),
        Key("enforce.auth.enabled", "flag", "enforce_auth_enabled"),
        Key("enforce.auth.schemes", "words", "enforce_auth_schemes"),
        *_none(_SASL, "flag", "sessionRequireClientSASLAuth", "allowSaslFailedClients"),
        *_none(_SASL, "str", "sasl.serverconfig", "security.auth_to_local", "server.realm"),
        *_none(_SASL, "str", "letAnySaslUserDoX", "kinit", "requireKerberosConfig"),
        *_none(_SASL, "flag", "kerberos.removeHostFromPrincipal", "kerberos.removeRealmFromPrincipal"),
        *_none(_SASL, "flag", "kerberos.canonicalizeHostNames"),
        *_none(_SASL, "int", "kerberos.minReLoginTimeMs"),
        *_none(_SASL, "str", "SASLAuthenticationProvider.superPassword"),
        *_none(_TLS, "str", "X509AuthenticationProvider.superUser"),
        *_none(_LATER, "str", "ensembleAuthName"),
        *_none(_LATER, "flag", "IPAuthenticationProvider.usexforwardedfor"),
        *_none(_AUDIT, "flag", "audit.enable"),
        *_none(_AUDIT, "str", "audit.impl.class"),
        *_none(_ADMIN, "flag", "admin.enableServer", "admin.portUnification", "admin.forceHttps"),
        *_none(_ADMIN, "flag", "admin.needClientAuth", "admin.snapshot.enabled", "admin.restore.enabled"),
        *_none(_ADMIN, "int", "admin.serverPort", "admin.idleTimeout", "admin.httpVersion"),
        *_none(_ADMIN, "int", "admin.rateLimiterIntervalInMS"),
        *_none(_ADMIN, "str", "admin.serverAddress", "admin.commandURL"),
        *_none(_TLS, "str", *(f"ssl.{suffix}" for suffix in _TLS_SUFFIXES)),
        *_none(_TLS, "str", *(f"ssl.quorum.{suffix}" for suffix in _TLS_SUFFIXES)),
        *_none(_TLS, "str", "ssl.authProvider", "ssl.sslProvider"),
        # Of clients, which Apache's server becomes in places
        *_none(_CLIENT, "flag", "client.secure", "disableAutoWatchReset", "sasl.client"),
        *_none(_CLIENT, "flag", "sasl.client.canonicalize.hostname"),
        *_none(_CLIENT, "str", "clientCnxnSocket", "sasl.client.username", "sasl.clientconfig"),
        *_none(_CLIENT, "int", "request.timeout"),
        # Only as real system properties
        Key("jute.maxbuffer", "int", "jute_maxbuffer", 0, where=SYSTEM),
        Key("znode.container.checkIntervalMs", "int", "container_check_interval_ms", 1, where=SYSTEM),
        Key("znode.container.maxPerMinute", "int", "container_max_per_minute", 1, where=SYSTEM),
        Key("znode.container.maxNeverUsedIntervalMs", "long", "container_max_never_used_ms", 0, where=SYSTEM),
        Key("readonlymode.enabled", "flag", "read_only_mode", where=SYSTEM),
        *_none("nothing is ever held back", "flag", "leader.nodelay", "follower.nodelay", where=SYSTEM),
        *_none(_SASL, "str", "java.security.auth.login.config", "java.security.krb5.conf", where=SYSTEM),
        *_none(_SASL, "str", "sun.security.jgss.native", where=SYSTEM),
        *_none(_TLS, "str", "jdk.tls.rejectClientInitiatedRenegotiation", where=SYSTEM),
    ]
}

#: Families of keys of which every member is accepted and has no effect: prefix → why.
FAMILIES: Final[dict[str, str]] = {
    "metricsProvider.": _METRICS,
    "authProvider.": _LATER,
    "superUser.": _SASL,
    "jmx.log4j.": _JVM,
    # What Apache's scripts give to their logging; here --log-level and --log-json do that.
    "log.": _LOGGING,
    "tracelog.": _LOGGING,
    "auditlog.": _LOGGING,
    "root.logger": _LOGGING,
    "console.threshold": _LOGGING,
}
