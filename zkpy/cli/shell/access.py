"""Verbs on who may do what, and who is asking: getAcl, setAcl, addauth, whoami."""

from __future__ import annotations

from zkpy.cli.shell.options import Grammar, Parsed
from zkpy.cli.shell.printing import acl_lines, code_text, parse_acl, print_stat
from zkpy.cli.shell.verb import Desk, int_of, verb
from zkpy.cli.shell.znodes import walk
from zkpy.proto import errors


@verb("getAcl", "[-s] path", Grammar("s"))
def get_acl(desk: Desk, given: Parsed) -> None:
    """A znode's ACL."""
    acl, stat = desk.session.get_acl(given.words[1])
    for line in acl_lines(acl):
        desk.say(line)
    if given.has("s"):
        print_stat(stat, desk.say)


@verb("setAcl", "[-s] [-v version] [-R] path acl", Grammar("s R", "v"), least=3)
def set_acl(desk: Desk, given: Parsed) -> None:
    """Of a znode, or of all below it too; then errors do not stop it, and are printed in one line as zkCli does."""
    _, path, text, *_ = given.words
    acl = parse_acl(text, desk.complain)
    version = int_of(given, "v", -1)
    if not given.has("R"):
        stat = desk.session.set_acl(path, acl, version)
        if given.has("s"):
            print_stat(stat, desk.say)
        return

    def visit(one: str) -> None:
        try:
            desk.session.set_acl(one, acl, version)
        except errors.KeeperError as error:
            desk.write(code_text(error))

    walk(desk.session, path, visit)


@verb("addauth", "scheme auth")
def add_auth(desk: Desk, given: Parsed) -> None:
    """Show credentials; a refusal comes as an event, and ends the session."""
    _, scheme, *rest = given.words
    desk.session.add_auth(scheme, rest[0].encode() if rest else None)


@verb("whoami", "", least=1)
def who_am_i(desk: Desk, given: Parsed) -> None:
    """The identities that the server sees."""
    infos = desk.session.who_am_i()
    desk.say("Auth scheme: User")
    for info in infos:
        desk.say(f"{info.auth_scheme}: {info.user}")
