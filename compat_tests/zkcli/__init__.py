"""Apache's own zkCli, driven through every command it has, must print the same whether Apache or zkpy serves it.

    script.py       the language of the scripts: a command a line, and below it what must be seen in its transcript
    scripts.py      the scripts, one a theme; themes/ holds their texts
    session.py      one zkCli process: a command in, the lines and watch events it printed out
    play.py         Script + server → Transcript, an entry a command
    one_shot.py     zkCli with its command on the command line: run it, print, exit
    transcript.py   Transcript → normal form, in which session ids and times have names; two of them → differences

The law: zkCli's stdin takes one command at a time, and the next only when the end of the last one's output and all the
events it was to fire have been seen. So a transcript has one right order, and what is compared includes the zxids.
"""
