"""Apache ZooKeeper and zkpy, given the same programs, answer the same: here we look for the place where they do not.

    pools.py      the words: paths, ACLs, versions, credentials, right ones and wrong ones
    programs.py   Program, its turns and requests, and how they read as a story
    requests.py   single requests, drawn by a seed's dice and aimed with model.py
    generator.py  seed → Program: turns of those requests, and connections that come and go
    sweep.py      one Program without dice: every way to fail, at every place of a multi
    runner.py     Program + server → Recording: every reply, event and close, decoded, by turn and connection
    compare.py    Recording → canonical form (what a server may choose freely is taken out); two of them → differences
    coverage.py   what the programs reached: operation by error code, and what nobody has compared yet
    campaign.py   many programs on a pair of servers: start them, run, compare, shrink what differs, tell the story
    wire.py       the bytes: a table-driven Jute codec of its own and a blocking socket

The law: only one connection acts at a time, and every connection that may be watching is drained before the next one
acts. So everything a client can see has one right order, and "the same" needs no tolerance for races.

The codec here is deliberately not the server's: a mistake in a shared one would agree with itself.
"""
