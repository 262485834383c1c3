"""`zkpy shell`, a zkCli in Python. Read in this order:

    command.py      the command: its options, one verb or many
    console.py      lines to words to verbs; events as they come; history and redo
    terminal.py     lines from a terminal: editing, completion, what was typed before
    verb.py         what a verb is; options.py: how its options are read
    znodes.py  access.py  watching.py  quotas.py  ensemble.py  extras.py     the verbs
    printing.py     stats, ACLs, data and errors as zkCli prints them; paths.py: what is wrong with a path
    session.py      the operations of a session; watches.py: which watches it has
    connection.py   the thread that keeps it alive

Its law: a verb that zkCli has prints what zkCli prints, and exits as zkCli exits.
"""
