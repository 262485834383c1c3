"""zkpy beside the real programs, which scripts/peers installs. A test whose peer is missing skips and names it; where
CI is set it fails.
"""
