"""Data directories that pass from Apache's server to zkpy and back: what one has written, the other serves.

    client.py     a blocking client that says each request once and checks its answer
    served.py     everything a server tells about its tree, as one value; how two of them differ
    story.py      writes of every kind, through any server, and the sessions they leave open
    exchange.py   one data directory and the servers that take turns over it
    files.py      logs cut, damaged and rewritten, with a reader of their own
    tools.py      Apache's own tools, and their output without what differs from run to run

The bytes on the wire are those of `differential.wire`, the bytes of a log are read by `files`: nothing here believes
zkpy about a format.
"""
