"""zkpy beside the real programs: each peer is installed by scripts/peers; a test whose peer is missing skips, naming it."""
