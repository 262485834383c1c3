"""The scripts, one a theme: how each is set up. Their texts stand in themes/, written down from Apache's server."""

from __future__ import annotations

from .script import Script

SCRIPTS = (
    Script("znodes"),
    Script("data"),
    Script(
        "types",
        properties={"zookeeper.extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "1000"},
    ),
    Script(
        "acl",
        config={"reconfigEnabled": "true"},
        # The digest of super:test.
        properties={"zookeeper.DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU="},
        # Whoever fails to authenticate leaves its session behind; it must not end while we look at zxids.
        options=("-timeout", "40000"),
    ),
    Script("ids"),
    Script("quota", config={"enforceQuota": "true"}),
    Script("watches"),
    Script("connections"),
    Script("restart"),
    # Expired sessions are looked for once a tick.
    Script("sessions", config={"tickTime": "500"}, options=("-timeout", "6000")),
    Script(
        "settings",
        config={"minSessionTimeout": "20000"},
        properties={
            "jute.maxbuffer": "500",
            "zookeeper.DigestAuthenticationProvider.digestAlg": "SHA-256",
            "zookeeper.extendedTypesEnabled": "true",
            "zookeeper.skipACL": "yes",
        },
        options=("-timeout", "5000"),
    ),
    Script("short-timeout", options=("-r", "-timeout", "100")),
    Script("long-timeout", options=("-waitforconnection", "-r", "-timeout", "1000000")),
)
