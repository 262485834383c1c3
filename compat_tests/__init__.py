"""zkpy beside the real programs. scripts/peers installs them; a test whose peer is missing skips and names it."""
