"""The house has floors: a file imports only from lower ones or from its own folder, and the core does no I/O.

Imports are read with `ast`, so nothing runs and no import inside a function escapes. Floors 0 to 4a (jute, proto, tree,
zab, keeper, replica) get time and chance as arguments; whatever could fetch them behind the caller is named here.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Floor:
    """What the files of one folder (or one file) may import: which of our own, and which packages of others."""

    ours: tuple[str, ...]
    others: tuple[str, ...] = ()
    #: The core neither waits nor looks at a clock, rolls dice or touches the machine.
    is_core: bool = False


CORE = {
    "jute": Floor((), is_core=True),
    "zkpy.proto": Floor(("jute",), is_core=True),
    "zkpy.tree": Floor(("jute", "zkpy.proto"), is_core=True),
    "zkpy.zab": Floor(("jute", "zkpy.proto"), ("attrs",), is_core=True),
    "zkpy.keeper": Floor(("jute", "zkpy.proto", "zkpy.tree"), ("attrs", "sortedcontainers"), is_core=True),
    "zkpy.replica": Floor(("jute", "zkpy.proto", "zkpy.tree", "zkpy.zab", "zkpy.keeper"), is_core=True),
}
STORAGE = Floor(("jute", "zkpy.proto", "zkpy.tree", "zkpy.zab"), ("attrs",))
SERVING = Floor((*CORE, "zkpy.storage"), ("attrs", "click", "trio"))
FLOORS = {
    **CORE,
    "zkpy.storage": STORAGE,
    "zkpy.server": SERVING,
    "zkpy.admin": Floor((*SERVING.ours, "zkpy.server"), SERVING.others),
    "zkpy.recipes": Floor((), ("kazoo",)),
    "zkpy.testing": Floor((*SERVING.ours, "zkpy.server", "zkpy.admin"), (*SERVING.others, "kazoo", "pytest")),
    "zkpy.cli": Floor((*SERVING.ours, "zkpy.server", "zkpy.admin", "zkpy.recipes"), (*SERVING.others, "kazoo")),
    "zkpy.__main__": Floor(("zkpy.cli",)),
    "zkpy": Floor(()),
}

#: Modules of the standard library that reach outside of the program: clocks, dice, files, sockets, other threads.
WORLDLY = frozenset(
    "_thread aiofiles asyncio concurrent contextvars ctypes fcntl fileinput gc getpass glob http importlib io logging"
    " mmap multiprocessing os pathlib platform queue random resource sched secrets select selectors shutil signal site"
    " socket socketserver ssl subprocess sys tempfile threading time urllib uuid warnings".split()
)
#: Calls that do the same without an import.
WORLDLY_CALLS = frozenset("__import__ breakpoint eval exec id input open print".split())
#: The same as attributes: datetime.now() and its kin.
WORLDLY_ATTRIBUTES = frozenset("now today utcnow".split())


def module_name(path: Path) -> str:
    """`zkpy.tree.acl` for zkpy/tree/acl.py; a package goes by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def home_of(module: str) -> str:
    """The longest name in FLOORS that is the module's own or above it."""
    while module not in FLOORS:
        module = module.rpartition(".")[0]
    return module


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, wherever it stands; relative ones begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "zkpy":
                for name in node.names:
                    yield node.lineno, "zkpy" if name.name.startswith("__") else f"zkpy.{name.name}"
            else:
                yield node.lineno, module


def faults_of(source: str, module: str) -> list[str]:
    """What the source of `module` does that its floor forbids."""
    home = home_of(module)
    floor = FLOORS[home]
    faults = []
    tree = ast.parse(source)
    for line, imported in imports_of(tree):
        top = imported.partition(".")[0]
        if not top:
            faults.append(f"{line}: relative import")
        elif top in ("jute", "zkpy"):
            # The name `zkpy` itself carries the version and nothing else.
            if imported != "zkpy" and home_of(imported) not in (home, *floor.ours):
                faults.append(f"{line}: {home} imports {imported}")
        elif top in sys.stdlib_module_names:
            if floor.is_core and top in WORLDLY:
                faults.append(f"{line}: the core imports {imported}")
        elif top not in floor.others:
            faults.append(f"{line}: {home} imports {imported}")
    if floor.is_core:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name) and called.id in WORLDLY_CALLS:
                    faults.append(f"{node.lineno}: the core calls {called.id}")
                elif isinstance(called, ast.Attribute) and called.attr in WORLDLY_ATTRIBUTES:
                    faults.append(f"{node.lineno}: the core calls {called.attr}")
            elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
                faults.append(f"{node.lineno}: the core waits")
    return faults


SOURCES = sorted(path for name in ("jute", "zkpy") for path in (ROOT / name).rglob("*.py"))


def test_the_sources_are_all_found() -> None:
    modules = {module_name(path) for path in SOURCES}
    assert {"jute", "jute.wire", "zkpy", "zkpy.replica", "zkpy.keeper.keeper", "zkpy.server.hub"} <= modules
    homes = {home_of(module) for module in modules}
    assert homes >= {*CORE, "zkpy.storage", "zkpy.server", "zkpy.recipes", "zkpy.cli", "zkpy"}


@pytest.mark.parametrize("path", SOURCES, ids=[module_name(path) for path in SOURCES])
def test_every_file_keeps_to_its_floor(path: Path) -> None:
    assert faults_of(path.read_text(encoding="utf-8"), module_name(path)) == []


def test_the_floors_stand_on_one_another_without_a_circle() -> None:
    standing: set[str] = set()
    left = dict(FLOORS)
    while left:
        ready = [name for name, floor in left.items() if set(floor.ours) <= standing]
        assert ready, f"a circle among {sorted(left)}"
        standing.update(ready)
        for name in ready:
            del left[name]


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("jute.wire", "import attrs", "1: jute imports attrs"),
        ("jute.wire", "from zkpy.proto import opcodes", "1: jute imports zkpy.proto"),
        ("zkpy.proto.paths", "from zkpy.tree.acl import Acl", "1: zkpy.proto imports zkpy.tree.acl"),
        ("zkpy.tree.acl", "import zkpy.keeper.auth", "1: zkpy.tree imports zkpy.keeper.auth"),
        ("zkpy.tree.acl", "from zkpy.zab.peer import Peer", "1: zkpy.tree imports zkpy.zab.peer"),
        ("zkpy.zab.peer", "from zkpy.tree import txns", "1: zkpy.zab imports zkpy.tree"),
        ("zkpy.keeper.keeper", "from zkpy import replica", "1: zkpy.keeper imports zkpy.replica"),
        ("zkpy.keeper.keeper", "from zkpy.zab.ready import Ready", "1: zkpy.keeper imports zkpy.zab.ready"),
        ("zkpy.replica", "from zkpy.storage import Store", "1: zkpy.replica imports zkpy.storage"),
        ("zkpy.storage.store", "from zkpy.replica import Replica", "1: zkpy.storage imports zkpy.replica"),
        ("zkpy.storage.store", "import trio", "1: zkpy.storage imports trio"),
        ("zkpy.recipes.locks", "from zkpy.server import server", "1: zkpy.recipes imports zkpy.server"),
        ("zkpy.recipes.locks", "from zkpy.proto import paths", "1: zkpy.recipes imports zkpy.proto"),
        ("zkpy.recipes.locks", "import trio", "1: zkpy.recipes imports trio"),
        ("zkpy.server.hub", "from zkpy.cli import main", "1: zkpy.server imports zkpy.cli"),
        ("zkpy.keeper.keeper", "def f():\n    import time", "2: the core imports time"),
        ("zkpy.keeper.keeper", "if 0:\n    from os.path import join", "2: the core imports os.path"),
        ("zkpy.replica", "import trio", "1: zkpy.replica imports trio"),
        ("zkpy.tree.image", "f = open('/etc/motd')", "1: the core calls open"),
        ("zkpy.keeper.commands", "datetime.now(UTC)", "1: the core calls now"),
        ("zkpy.tree.image", "__import__('time')", "1: the core calls __import__"),
        ("zkpy.zab.peer", "async def ready(): pass", "1: the core waits"),
        ("zkpy.proto.paths", "from . import zxid", "1: relative import"),
    ],
)
def test_a_planted_fault_is_found(module: str, source: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(source, encoding="utf-8")
    assert faults_of(file.read_text(encoding="utf-8"), module) == [fault]


@pytest.mark.parametrize(
    "module", ["time", "random", "os", "socket", "threading", "uuid", "asyncio", "logging", "trio"]
)
@pytest.mark.parametrize("home", list(CORE))
def test_no_floor_of_the_core_may_import_it(home: str, module: str) -> None:
    assert len(faults_of(f"import {module}", home)) == 1
