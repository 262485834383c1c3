"""The words of ZooKeeper, without behaviour: what every floor above says and reads. Imports `jute` only.

records.jute     the schema of every record on the wire and on disk: the single source of truth
records.py       generated from it by scripts/gen_records
opcodes.py       request types, create flags, permissions, special xids
events.py        event types and keeper states
errors.py        error codes and a KeeperError for each; ProtocolError
paths.py         which znode paths are legal; parent, name, namespace
zxid.py          epoch and counter in one number
frames.py        length-prefixed frames out of a byte stream
packets.py       the quorum port: packet types, and packets out of a byte stream
notification.py  the election port: how servers greet, and the one message that is not Jute
"""
