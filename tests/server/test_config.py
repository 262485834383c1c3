"""zoo.cfg, -D options and what becomes of them."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from zkpy.server.config import Config, ConfigError, load_config
from zkpy.server.settings import FAMILIES, KEYS, OWN, PROPERTY, SYSTEM

#: The keys that do something: a sample, the field it sets, and to what.
HONOURED: dict[str, tuple[str, str, Any]] = {
    "dataDir": ("/d", "data_dir", Path("/d")),
    "dataLogDir": ("/l", "data_log_dir", Path("/l")),
    "clientPort": ("2182", "client_port", 2182),
    "clientPortAddress": ("::1", "client_address", "::1"),
    "clientPortListenBacklog": ("50", "listen_backlog", 50),
    "tickTime": ("2000", "tick_time_ms", 2000),
    "maxClientCnxns": ("7", "max_client_cnxns", 7),
    "minSessionTimeout": ("100", "min_session_timeout_ms", 100),
    "maxSessionTimeout": ("100000", "max_session_timeout_ms", 100000),
    "autopurge.snapRetainCount": ("5", "snap_retain_count", 5),
    "autopurge.purgeInterval": ("24", "purge_interval_hours", 24),
    "reconfigEnabled": ("true", "reconfig_enabled", True),
    "initLimit": ("10", "init_limit", 10),
    "syncLimit": ("5", "sync_limit", 5),
    "connectToLearnerMasterLimit": ("7", "connect_limit", 7),
    "peerType": ("observer", "peer_type", "observer"),
    "quorumListenOnAllIPs": ("true", "quorum_listen_on_all", True),
    "commitLogCount": ("600", "commit_log_count", 600),
    "snapshotSizeFactor": ("0.5", "snapshot_size_factor", 0.5),
    "leaderServes": ("no", "leader_serves", False),
    "readonlymode.enabled": ("true", "read_only_mode", True),
    "localSessionsEnabled": ("true", "local_sessions", True),
    "localSessionsUpgradingEnabled": ("true", "local_sessions_upgrading", True),
    "forceSnapshotSync": ("true", "force_snap", True),
    "syncEnabled": ("false", "sync_enabled", False),
    "observer.syncEnabled": ("true", "observer_sync_enabled", True),
    "tcpKeepAlive": ("true", "quorum_keepalive", True),
    "cnxTimeout": ("1000", "election_connect_ms", 1000),
    "quorumCnxnTimeoutMs": ("3000", "election_greeting_ms", 3000),
    "electionPortBindRetry": ("0", "election_bind_tries", 0),
    "fastleader.minNotificationInterval": ("100", "min_notification_ms", 100),
    "fastleader.maxNotificationInterval": ("10000", "max_notification_ms", 10000),
    "leader.maxTimeToWaitForEpoch": ("2000", "max_epoch_wait_ms", 2000),
    "leaderConnectDelayDuringRetryMs": ("50", "leader_retry_ms", 50),
    "observer.election.DelayMs": ("0", "observer_rest_ms", 0),
    "globalOutstandingLimit": ("20", "global_outstanding_limit", 20),
    "skipACL": ("yes", "skip_acl", True),
    "enforceQuota": ("true", "enforce_quota", True),
    "digest.enabled": ("false", "digest_enabled", False),
    "serializeLastProcessedZxid.enabled": ("false", "serialize_last_processed_zxid", False),
    "closeSessionTxn.enabled": ("false", "close_session_txn_enabled", False),
    "extendedTypesEnabled": ("true", "extended_types_enabled", True),
    "largeRequestMaxBytes": ("1000", "large_request_max_bytes", 1000),
    "largeRequestThreshold": ("100", "large_request_threshold", 100),
    "snapCount": ("500", "snap_count", 500),
    "snapSizeLimitInKb": ("3000000000", "snap_size_limit_kb", 3_000_000_000),
    "txnLogSizeLimitInKb": ("1024", "txn_log_size_limit_kb", 1024),
    "preAllocSize": ("64", "pre_alloc_kb", 64),
    "forceSync": ("no", "force_sync", False),
    "fsync.warningthresholdms": ("20", "fsync_warning_threshold_ms", 20),
    "snapshot.trust.empty": ("true", "snapshot_trust_empty", True),
    "snapshot.compression.method": ("gz", "snapshot_compression", "gz"),
    "datadir.autocreate": ("false", "datadir_autocreate", False),
    "db.autocreate": ("false", "db_autocreate", False),
    "jute.maxbuffer": ("4194304", "jute_maxbuffer", 4194304),
    "jute.maxbuffer.extrasize": ("2048", "jute_extrasize", 2048),
    "maxCnxns": ("1000", "max_cnxns", 1000),
    "4lw.commands.whitelist": ("stat, ruok,mntr", "four_letter_whitelist", frozenset(("stat", "ruok", "mntr"))),
    "clientTcpKeepAlive": ("true", "tcp_keepalive", True),
    "nio.sessionlessCnxnTimeout": ("500", "sessionless_timeout_ms", 500),
    "connection_throttle_tokens": ("100", "connection_throttle_tokens", 100),
    "connection_throttle_fill_time": ("10", "connection_throttle_fill_ms", 10),
    "connection_throttle_fill_count": ("5", "connection_throttle_fill_count", 5),
    "DigestAuthenticationProvider.superDigest": ("super:x=", "super_digest", "super:x="),
    "DigestAuthenticationProvider.enabled": ("false", "digest_auth_enabled", False),
    "DigestAuthenticationProvider.digestAlg": ("sha-256", "digest_alg", "SHA-256"),
    "enforce.auth.schemes": ("digest,ip", "enforce_auth_schemes", ("digest", "ip")),
    "znode.container.checkIntervalMs": ("1000", "container_check_interval_ms", 1000),
    "znode.container.maxPerMinute": ("60", "container_max_per_minute", 60),
    "znode.container.maxNeverUsedIntervalMs": ("5000", "container_max_never_used_ms", 5000),
}

#: Keys that work only together with another, and have tests of their own below.
TOGETHER = {"enforce.auth.enabled", "dynamicConfigFile", "standaloneEnabled"}

#: The keys that are accepted and have no effect, by a sample that is right for them.
WITHOUT_EFFECT = {
    "3": """electionAlg""",
    "4": """
        secureClientPort netty.server.outstandingHandshake.limit observerMasterPort
        multiAddress.reachabilityCheckTimeoutMs
        leader.ackLoggingFrequency leader.maxConcurrentSnapSyncs leader.maxConcurrentDiffSyncs
        observer.reconnectDelayMs observerMaster.sizeLimit
        quorum.cnxn.threads.size intBufferStartingSizeBytes bitHashCacheSize nio.numSelectorThreads
        nio.numWorkerThreads nio.directBufferBytes nio.shutdownTimeout messageTracker.BufferSize
        commitProcessor.numWorkerThreads commitProcessor.maxReadBatchSize commitProcessor.maxCommitBatchSize
        commitProcessor.shutdownTimeout watcherCleanThreshold watcherCleanIntervalInSeconds watcherCleanThreadsNum
        maxInProcessingDeadWatchers jvm.pause.info-threshold.ms jvm.pause.warn-threshold.ms jvm.pause.sleep.time.ms
        throttled_op_wait_time request_throttle_max_requests request_throttle_stall_time
        request_throttler.shutdownTimeout maxResponseCacheSize maxGetChildrenResponseCacheSize pathStats.slotCapacity
        pathStats.slotDuration pathStats.maxDepth pathStats.initialDelay pathStats.delay pathStats.topPathMax
        connection_throttle_freeze_time connection_throttle_global_session_weight
        connection_throttle_renew_session_weight connection_throttle_local_session_weight flushDelay
        maxWriteQueuePollTime maxBatchSize kerberos.minReLoginTimeMs admin.serverPort admin.idleTimeout
        admin.httpVersion admin.rateLimiterIntervalInMS request.timeout
        """,
    "true": """
        sslQuorum portUnification sslQuorumReloadCertFiles multiAddress.enabled
        multiAddress.reachabilityCheckEnabled
        quorum.auth.enableSasl quorum.auth.serverRequireSasl quorum.auth.learnerRequireSasl jvm.pause.monitor
        enableEagerACLCheck test.allowDiscontinuousProposals
        follower.skipLearnerRequestToNextProcessor
        forward_learner_requests_to_commit_processor_disabled leader.nodelay follower.nodelay
        emulate353TTLNodes request_throttle_drop_stale request_stale_connection_check request_stale_latency_check
        pathStats.enabled connection_throttle_weight_enabled IPAuthenticationProvider.usexforwardedfor
        netty.advancedFlowControl.enabled leader.closeSocketAsync learner.closeSocketAsync learner.asyncSending
        messageTracker.Enabled netty.server.earlyDropSecureConnectionHandshakes client.portUnification
        client.certReload fips-mode sessionRequireClientSASLAuth allowSaslFailedClients
        kerberos.removeHostFromPrincipal kerberos.removeRealmFromPrincipal kerberos.canonicalizeHostNames
        audit.enable admin.enableServer admin.portUnification admin.forceHttps admin.needClientAuth
        admin.snapshot.enabled admin.restore.enabled client.secure disableAutoWatchReset sasl.client
        sasl.client.canonicalize.hostname
        """,
    "some text": """
        secureClientPortAddress X509AuthenticationProvider.superUser ssl.authProvider ssl.sslProvider
        jdk.tls.rejectClientInitiatedRenegotiation oraclePath quorum.auth.server.saslLoginContext
        quorum.auth.learner.saslLoginContext quorum.auth.kerberos.servicePrincipal superUser sasl.serverconfig
        security.auth_to_local server.realm letAnySaslUserDoX kinit requireKerberosConfig
        SASLAuthenticationProvider.superPassword java.security.auth.login.config java.security.krb5.conf
        sun.security.jgss.native metricsProvider.className pathStats.sampleRate testingonly.initialZxid
        connection_throttle_drop_increase connection_throttle_drop_decrease connection_throttle_decrease_ratio
        ensembleAuthName serverCnxnFactory watchManagerName audit.impl.class admin.serverAddress admin.commandURL
        clientCnxnSocket sasl.client.username sasl.clientconfig
        ssl.keyStore.location ssl.keyStore.password ssl.keyStore.passwordPath ssl.keyStore.type
        ssl.trustStore.location ssl.trustStore.password ssl.trustStore.passwordPath ssl.trustStore.type
        ssl.protocol ssl.enabledProtocols ssl.ciphersuites ssl.hostnameVerification ssl.clientHostnameVerification
        ssl.allowReverseDnsLookup ssl.crl ssl.ocsp ssl.clientAuth ssl.handshakeDetectionTimeoutMillis
        ssl.context.supplier.class
        ssl.quorum.keyStore.location ssl.quorum.keyStore.password ssl.quorum.keyStore.passwordPath
        ssl.quorum.keyStore.type ssl.quorum.trustStore.location ssl.quorum.trustStore.password
        ssl.quorum.trustStore.passwordPath ssl.quorum.trustStore.type ssl.quorum.protocol
        ssl.quorum.enabledProtocols ssl.quorum.ciphersuites ssl.quorum.hostnameVerification
        ssl.quorum.clientHostnameVerification ssl.quorum.allowReverseDnsLookup ssl.quorum.crl ssl.quorum.ocsp
        ssl.quorum.clientAuth ssl.quorum.handshakeDetectionTimeoutMillis ssl.quorum.context.supplier.class
        """,
}
NO_EFFECT = {name: sample for sample, names in WITHOUT_EFFECT.items() for name in names.split()}

#: A member of each family of keys that is open-ended.
FAMILY_MEMBERS = {
    "metricsProvider.": "metricsProvider.httpPort",
    "authProvider.": "authProvider.1",
    "superUser.": "superUser.1",
    "jmx.log4j.": "jmx.log4j.disable",
    "log.": "log.dir",
    "tracelog.": "tracelog.dir",
    "auditlog.": "auditlog.file",
    "root.logger": "root.logger",
    "console.threshold": "console.threshold",
}


# --- the list of keys -----------------------------------------------------------------------------------------------


def test_the_list_of_keys_is_the_list_of_these_tests() -> None:
    assert set(KEYS) == set(HONOURED) | TOGETHER | set(NO_EFFECT)
    assert set(FAMILIES) == set(FAMILY_MEMBERS)


def test_every_field_of_the_configuration_can_be_set_by_one_key() -> None:
    fields = [key.field for key in KEYS.values() if key.field]
    # The members come from their own lines, and this server's number among them from a file.
    assert sorted([*fields, "members", "sid"]) == sorted(field.name for field in attrs.fields(Config))


@pytest.mark.parametrize("name", HONOURED)
def test_a_key_sets_its_field(read: Any, name: str) -> None:
    sample, field, expected = HONOURED[name]
    config, notes = read({name: sample})
    assert getattr(config, field) == expected
    assert notes == []
    assert getattr(read({})[0], field) != expected, "the sample must differ from the default"


@pytest.mark.parametrize("name", NO_EFFECT)
def test_a_key_without_effect_is_accepted_with_one_line_that_says_so(read: Any, name: str) -> None:
    config, notes = read({name: NO_EFFECT[name]})
    assert notes == [f"zoo.cfg, line 3: {name} has no effect: {KEYS[name].why}"]
    assert config == read({})[0]


@pytest.mark.parametrize("prefix", FAMILY_MEMBERS)
def test_a_family_of_keys_is_accepted_with_one_line_that_says_so(read: Any, prefix: str) -> None:
    name = FAMILY_MEMBERS[prefix]
    assert read({name: "x"})[1] == [f"zoo.cfg, line 3: {name} has no effect: {FAMILIES[prefix]}"]


def test_a_key_that_stands_twice_is_mentioned_once(read: Any) -> None:
    _, notes = read(
        "dataDir=/d\nclientPort=1\nfips-mode=true\nfips-mode=false\nzookeeper.fips-mode=true\n",
        "-Dzookeeper.fips-mode=true",
    )
    assert len(notes) == 1
    assert "line 4: fips-mode has no effect" in notes[0]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("snapcount", ": did you mean snapCount?"), ("clientport", ": did you mean clientPort?"), ("whatever", "")],
)
def test_an_unknown_key_is_accepted_with_a_line_and_a_guess(read: Any, name: str, hint: str) -> None:
    config, notes = read({name: "1"})
    assert notes == [f"zoo.cfg, line 3: {name} is not a key of ZooKeeper 3.9 and has no effect{hint}"]
    assert config == read({})[0]


# --- spellings and precedence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if key.where != OWN and name in HONOURED])
def test_a_system_property_is_read_from_the_file_by_either_spelling(read: Any, name: str) -> None:
    sample, field, expected = HONOURED[name]
    config, notes = read({f"zookeeper.{name}": sample})
    assert (getattr(config, field), notes) == (expected, [])


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if key.where == PROPERTY and name in HONOURED])
def test_a_property_is_read_from_the_options(read: Any, name: str) -> None:
    sample, field, expected = HONOURED[name]
    config, notes = read({}, f"'-Dzookeeper.{name}={sample}'")
    assert (getattr(config, field), notes) == (expected, [])


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if key.where == SYSTEM and name in HONOURED])
def test_a_property_of_the_jvm_is_read_from_the_options_without_prefix(read: Any, name: str) -> None:
    sample, field, expected = HONOURED[name]
    config, notes = read({}, f"-D{name}={sample}")
    assert (getattr(config, field), notes) == (expected, [])


def test_the_fsync_warning_has_two_option_names(read: Any) -> None:
    for option in ("-Dfsync.warningthresholdms=5", "-Dzookeeper.fsync.warningthresholdms=5"):
        config, notes = read({}, option)
        assert (config.fsync_warning_threshold_ms, notes) == (5, [])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("snapCount", "has no effect: the option is spelled -Dzookeeper.snapCount"),
        ("zookeeper.jute.maxbuffer", "has no effect: the option is spelled -Djute.maxbuffer"),
        ("zookeeper.tickTime", "has no effect: tickTime is read from the configuration file alone"),
        ("dataDir", "has no effect: dataDir is read from the configuration file alone"),
        ("zookeeper.snapcount", "is not a key of ZooKeeper 3.9 and has no effect: did you mean snapCount?"),
    ],
)
def test_an_option_that_apache_would_not_read_is_mentioned(read: Any, name: str, why: str) -> None:
    config, notes = read({}, f"-D{name}=5")
    assert notes == [f"environment variable SERVER_JVMFLAGS: {name} {why}"]
    assert config == read({})[0]


def test_a_plain_key_of_the_configuration_file_has_no_second_spelling(read: Any) -> None:
    config, notes = read({"zookeeper.tickTime": "5"})
    assert notes == [
        "zoo.cfg, line 3: zookeeper.tickTime is not a key of ZooKeeper 3.9 and has no effect: did you mean tickTime?"
    ]
    assert config.tick_time_ms == 3000


def test_options_are_words_of_a_shell_and_those_of_others_are_left_alone(read: Any) -> None:
    options = """-Xmx512m -ea -Dcom.sun.management.jmxremote -Duser.timezone=UTC
        "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:with blank" -Dzookeeper.snapCount=7 zoo -D"""
    config, notes = read({}, options)
    assert (config.super_digest, config.snap_count, notes) == ("super:with blank", 7, [])


def test_an_open_quote_in_the_options_is_refused(refusal: Any) -> None:
    assert refusal({}, "-Da='b") == "environment variable SERVER_JVMFLAGS: No closing quotation"


def test_the_last_of_equal_options_counts_and_jvmflags_come_last(read: Any) -> None:
    flags = "-Dzookeeper.snapCount=5 -Dzookeeper.snapCount=6"
    assert read({}, flags)[0].snap_count == 6
    assert read({}, flags, JVMFLAGS="-Dzookeeper.snapCount=7")[0].snap_count == 7


def test_the_file_is_stronger_than_an_option(read: Any) -> None:
    assert read({"snapCount": "8"}, "-Dzookeeper.snapCount=7")[0].snap_count == 8
    assert read({"zookeeper.snapCount": "8"}, "-Dzookeeper.snapCount=7")[0].snap_count == 8


def test_an_option_that_the_file_overrules_need_not_be_right(read: Any) -> None:
    assert read({"snapCount": "8"}, "-Dzookeeper.snapCount=x")[0].snap_count == 8


def test_what_apache_takes_from_options_alone_is_stronger_there(read: Any) -> None:
    config, notes = read({"jute.maxbuffer": "5000"}, "-Djute.maxbuffer=6000")
    assert config.jute_maxbuffer == 6000
    assert notes == ["zoo.cfg, line 3: jute.maxbuffer has no effect: the option -Djute.maxbuffer is stronger"]


@pytest.mark.parametrize("lines", ["snapCount=8\nzookeeper.snapCount=9\n", "zookeeper.snapCount=9\nsnapCount=8\n"])
def test_the_spelling_that_apache_reads_is_the_stronger(read: Any, lines: str) -> None:
    assert read("dataDir=/d\nclientPort=1\n" + lines)[0].snap_count == 8


def test_the_last_of_equal_keys_counts(read: Any) -> None:
    config, notes = read("dataDir=/a\nclientPort=wrong\ndataDir=/b\nclientPort=2182\n")
    assert (config.data_dir, config.client_port, notes) == (Path("/b"), 2182, [])


def test_blanks_around_keys_and_values_do_not_count(read: Any) -> None:
    config, _ = read("dataDir = /a \t\nclientPort : 2182  \nsnapCount\\ = 7\n")
    assert (config.data_dir, config.client_port, config.snap_count) == (Path("/a"), 2182, 7)


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("clientPort", "x", "it must be a whole number"),
        ("clientPort", "", "it must be a whole number"),
        ("clientPort", "65536", "it must be at most 65535"),
        ("clientPort", "-1", "it must be at least 0"),
        ("clientPort", "0x10", "it must be a whole number"),
        ("clientPort", "1_0", "it must be a whole number"),
        ("clientPort", "\xb2", "it must be a whole number"),
        ("tickTime", "0", "it must be at least 1"),
        ("tickTime", "1.5", "it must be a whole number"),
        ("tickTime", "2147483648", "it must be at most 2147483647"),
        ("maxClientCnxns", "-2147483649", "it must be at least -2147483648"),
        ("snapCount", "09", "it must be a whole number"),
        ("snapCount", "2147483648", "it must be at most 2147483647"),
        ("snapSizeLimitInKb", "9223372036854775808", "it must be at most 9223372036854775807"),
        ("zookeeper.snapCount", "ten", "it must be a whole number"),
        ("globalOutstandingLimit", "0", "it must be at least 1"),
        ("reconfigEnabled", "yes", "Invalid option yes for reconfigEnabled. Choose 'true' or 'false.'"),
        ("digest.enabled", "off", "Invalid option off for digest.enabled. Choose 'true' or 'false.'"),
        ("skipACL", "true", "it must be yes or no"),
        ("forceSync", "false", "it must be yes or no"),
        ("snapshot.compression.method", "zip", "it must be one of nothing at all, gz, snappy"),
        ("peerType", "voter", "it must be one of participant, observer"),
        ("electionAlg", "2", "it must be at least 3"),
        ("dataDir", "", "it must name a directory or file"),
        ("dataLogDir", "\\u0000", "it must name a directory or file"),
        ("sslQuorum", "maybe", "Invalid option maybe for sslQuorum. Choose 'true' or 'false.'"),
        ("admin.serverPort", "http", "it must be a whole number"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_key_value_file_line_and_what_is_right(
    refusal: Any, name: str, value: str, why: str
) -> None:
    text = f"dataDir=/d\nclientPort=1\n# this comment, and the file's line ends, count as lines\n{name}={value}\n"
    shown = "\0" if value == "\\u0000" else value
    assert refusal(text) == f"zoo.cfg, line 4: {name}={shown}: {why}"


def test_a_wrong_value_of_an_option_is_refused_with_its_variable(refusal: Any) -> None:
    assert refusal({}, "-Dzookeeper.snapCount=many") == (
        "environment variable SERVER_JVMFLAGS: zookeeper.snapCount=many: it must be a whole number"
    )


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("+12", 12), ("0xC", 12), ("0Xc", 12), ("#c", 12), ("014", 12), ("-12", -12)]
)
def test_numbers_of_system_properties_are_written_as_java_decodes_them(read: Any, text: str, number: int) -> None:
    assert read({"zookeeper.snapSizeLimitInKb": text})[0].snap_size_limit_kb == number


def test_numbers_of_the_configuration_file_alone_are_decimal(read: Any) -> None:
    assert read({"tickTime": "0100"})[0].tick_time_ms == 100


@pytest.mark.parametrize("value", ["true", "TRUE", "True"])
def test_true_is_true_in_any_case(read: Any, value: str) -> None:
    assert read({"enforceQuota": value, "reconfigEnabled": value})[0].enforce_quota


@pytest.mark.parametrize(("name", "field"), [("maxClientCnxns", "max_client_cnxns"), ("maxCnxns", "max_cnxns")])
def test_a_negative_limit_of_connections_is_none(read: Any, name: str, field: str) -> None:
    assert getattr(read({name: "-1"})[0], field) == 0


@pytest.mark.parametrize(
    ("name", "value", "field", "least"),
    [("autopurge.snapRetainCount", "1", "snap_retain_count", 3), ("snapCount", "0", "snap_count", 2)],
)
def test_a_count_below_the_least_is_raised_with_a_line(
    read: Any, name: str, value: str, field: str, least: int
) -> None:
    config, notes = read({name: value})
    assert getattr(config, field) == least
    assert notes == [f"zoo.cfg, line 3: {name}={value} is raised to {least}, the least"]


def test_read_only_mode_allows_the_word_that_asks_for_it(read: Any) -> None:
    mode = {"readonlymode.enabled": "true"}
    assert read(mode)[0].four_letter_whitelist == {"srvr", "isro"}
    assert read({**mode, "4lw.commands.whitelist": "ruok"})[0].four_letter_whitelist == {"ruok", "isro"}


@pytest.mark.parametrize("hours", ["0", "-1"])
def test_old_snapshots_are_purged_unless_the_file_says_no(read: Any, hours: str) -> None:
    assert read({})[0].purge_interval_hours == 1
    assert read({"autopurge.purgeInterval": hours})[0].purge_interval_hours == 0


# --- what hangs together --------------------------------------------------------------------------------------------


def test_the_log_directory_is_the_data_directory_unless_it_is_given(read: Any) -> None:
    assert read({})[0].data_log_dir == Path("/data")


def test_session_timeouts_are_two_and_twenty_ticks_unless_they_are_given(read: Any) -> None:
    config, _ = read({"tickTime": "100"})
    assert (config.min_session_timeout_ms, config.max_session_timeout_ms) == (200, 2000)
    config, _ = read({"tickTime": "100", "minSessionTimeout": "50", "maxSessionTimeout": "-1"})
    assert (config.min_session_timeout_ms, config.max_session_timeout_ms) == (50, 2000)


def test_the_least_session_timeout_must_not_be_larger_than_the_most(refusal: Any) -> None:
    assert refusal({"minSessionTimeout": "50000", "maxSessionTimeout": "40000"}) == (
        "zoo.cfg: minSessionTimeout must not be larger than maxSessionTimeout (50000 > 40000 ms)"
    )


def test_the_slack_of_records_follows_the_largest_packet(read: Any) -> None:
    assert read({"jute.maxbuffer": "5000"})[0].jute_extrasize == 5000
    assert read({"jute.maxbuffer": "100"})[0].jute_extrasize == 1024


def test_enforced_authentication_needs_schemes_of_this_server(read: Any, refusal: Any) -> None:
    config, notes = read({"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest"})
    assert (config.enforce_auth_enabled, config.enforce_auth_schemes, notes) == (True, ("digest",), [])
    for schemes, shown in (("", "nothing"), ("digest,sasl", "digest,sasl")):
        assert refusal({"enforce.auth.enabled": "true", "enforce.auth.schemes": schemes}) == (
            f"zoo.cfg, line 3: enforce.auth.enabled needs enforce.auth.schemes to list"
            f" schemes of this server (digest, ip), not '{shown}'"
        )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("clientPort=1\n", "dataDir is not set: add a line such as dataDir=/var/lib/zookeeper"),
        ("dataDir=/d\n", "clientPort is not set: add a line such as clientPort=2181"),
        ("dataDir=/d\nclientPortAddress=::1\n", "clientPortAddress is set but clientPort is not set"),
    ],
)
def test_what_must_be_set_is_asked_for(refusal: Any, text: str, why: str) -> None:
    assert refusal(text) == f"zoo.cfg: {why}"


def test_relative_paths_are_mentioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("zoo.cfg").write_text("dataDir=data\nclientPort=1\n")
    config, notes = load_config(Path("zoo.cfg"), {})
    assert config.data_dir == Path("data")
    assert notes == [
        "zoo.cfg is relative to the working directory: an absolute path is safer",
        "zoo.cfg, line 1: dataDir=data is relative to the working directory: an absolute path is safer",
    ]


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path}/no\.cfg: No such file or directory: cannot read"):
        load_config(tmp_path / "no.cfg", {})


def test_places_are_told_with_the_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "zoo.cfg"
    path.write_text("dataDir=/d\nclientPort=1\nfips-mode=true\n")
    (note,) = load_config(path, {})[1]
    assert note.startswith(f"{path}, line 3: fips-mode has no effect")
    path.write_text("dataDir=/d\nclientPort=x\n")
    with pytest.raises(ConfigError, match=rf"{path}, line 2: clientPort=x: it must be a whole number"):
        load_config(path, {})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path}: Is a directory: cannot read"):
        load_config(tmp_path, {})


def test_half_an_escape_is_refused_with_its_line(refusal: Any) -> None:
    assert refusal("dataDir=/d\nclientPort=\\u12\n") == "zoo.cfg: line 2: malformed \\uXXXX escape"
