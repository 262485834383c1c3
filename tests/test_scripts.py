"""The scripts of the checkout, as far as that goes without installing anything; .ci/run does the rest."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [path for path in sorted((ROOT / "scripts").iterdir()) if not path.suffix and path.name != "environment"]
BASH = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and b"bash" in path.read_bytes()[:20]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with scripts and what they take from the command, nothing else; its path with a blank in it."""
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    shutil.copytree(ROOT / "zkpy" / "cli", root / "zkpy" / "cli")
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture
def make_venv(checkout: Path) -> ModuleType:
    """scripts/make_venv of that checkout as a module."""
    return module_of(checkout / "scripts" / "make_venv")


def module_of(path: Path) -> ModuleType:
    """A script as a module."""
    loader = SourceFileLoader(path.name, str(path))
    spec = importlib.util.spec_from_loader(path.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def script(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    return subprocess.run(
        [str(word) for word in command], env={**inherited, **variables}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


# --- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_a_script_can_be_run_as_it_is(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith(("#!/usr/bin/env python3\n", "#!/usr/bin/env bash\n"))


@pytest.mark.parametrize(
    "path", [*BASH, ROOT / ".ci" / "run", ROOT / "scripts" / "environment"], ids=lambda path: path.name
)
def test_bash_reads_it_to_its_end(path: Path) -> None:
    done = run("bash", "-n", path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_piece_that_check_does_not_have_is_refused() -> None:
    done = run(ROOT / "scripts" / "check", "lint", "spelling")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "scripts/check: spelling is none of format, lint, types, records, tests\n"


# --- which Python ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["serve", "test", "check"])
def test_a_python_that_is_too_old_is_named(checkout: Path, tmp_path: Path, name: str) -> None:
    old = script(tmp_path, "old", '[ "$1" = --version ] && echo "Python 3.9.2"; exit 1')
    done = run(checkout / "scripts" / name, PYTHON=str(old))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"zkpy: PYTHON={old} is not a Python 3.11 or later: Python 3.9.2\n"
    assert not (checkout / ".venv").exists()


def test_without_a_python_that_is_new_enough_it_says_what_to_install(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cat", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    script(programs, "python3", '[ "$1" = --version ] && echo "Python 3.9.2"; exit 1')
    done = run(programs / "bash", checkout / "scripts" / "serve", PATH=str(programs))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Python 3.11 or later is needed; python3 is Python 3.9.2" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert "brew install python" in done.stderr


def test_the_newest_python_is_found_under_its_own_name(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script(programs, "python3", "exit 1")
    script(programs, "python3.12", 'case "$*" in *make_venv*) echo "making it" >&2; exit 7;; esac')
    done = run(checkout / "scripts" / "serve", PATH=f"{programs}:/usr/bin:/bin")
    assert (done.returncode, done.stderr) == (7, "making it\n")


def test_a_python_without_ensurepip_is_told_what_to_install(
    make_venv: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ensurepip" else find_spec(name))
    with pytest.raises(SystemExit) as caught:
        make_venv.make("run", exactly=False)
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert f"{sys.executable} cannot make virtual environments: its module ensurepip is missing" in told
    assert "apt-get install python3-venv" in told


# --- the stamp ------------------------------------------------------------------------------------------------------


@pytest.fixture
def commands(make_venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What make_venv would run, in place of running it: "venv", or what pip is to install."""
    ran: list[str] = []

    def run(*command: str, **options: object) -> None:
        assert not make_venv.STAMP.exists(), "while anything changes there is no stamp"
        if "venv" in command:
            ran.append("venv")
            make_venv.PYTHON.parent.mkdir(parents=True, exist_ok=True)
            make_venv.PYTHON.unlink(missing_ok=True)
            make_venv.PYTHON.symlink_to(sys.executable)
        else:
            ran.append(command[-1].removeprefix(str(make_venv.ROOT)) or "run")

    monkeypatch.setattr(make_venv, "run", run)
    return ran


def test_what_is_up_to_date_is_left_alone(make_venv: ModuleType, commands: list[str]) -> None:
    for level in ("run", "run", "dev", "dev", "run"):
        make_venv.make(level, exactly=False)
    make_venv.make("dev", exactly=True)
    assert commands == ["venv", "run", "[dev]"]


def test_a_change_of_the_dependencies_is_installed_at_the_level_there_was(
    make_venv: ModuleType, commands: list[str], checkout: Path
) -> None:
    make_venv.make("dev", exactly=False)
    path = checkout / "pyproject.toml"
    text = path.read_text()
    path.write_text(text.replace("line-length = 120", "line-length = 100"))
    make_venv.make("run", exactly=False)
    assert commands == ["venv", "[dev]"], "how lines are checked changes nothing"
    path.write_text(text.replace('"trio>=0.25"', '"trio>=0.26"'))
    make_venv.make("run", exactly=False)
    assert commands == ["venv", "[dev]", "[dev]"]


def test_what_an_interrupt_left_behind_is_made_anew(
    make_venv: ModuleType, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instead = make_venv.run

    def interrupted(*command: str, **options: object) -> None:
        if "venv" not in command:
            raise KeyboardInterrupt
        instead(*command)

    monkeypatch.setattr(make_venv, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_venv.make("run", exactly=False)
    monkeypatch.setattr(make_venv, "run", instead)
    make_venv.make("run", exactly=False)
    assert commands == ["venv", "venv", "run"]


@pytest.mark.parametrize("entry", ["root", "version", "made_by"])
def test_what_was_made_for_another_place_or_python_is_made_anew(
    make_venv: ModuleType, commands: list[str], entry: str
) -> None:
    make_venv.make("run", exactly=False)
    stamp = json.loads(make_venv.STAMP.read_text())
    make_venv.STAMP.write_text(json.dumps({**stamp, entry: "/elsewhere"}))
    make_venv.make("run", exactly=True)
    assert commands == ["venv", "run", "venv", "run"]


def test_a_python_that_has_gone_is_made_anew(make_venv: ModuleType, commands: list[str]) -> None:
    make_venv.make("run", exactly=False)
    make_venv.PYTHON.unlink()
    make_venv.PYTHON.symlink_to("/no/such/python")
    make_venv.make("run", exactly=False)
    assert commands == ["venv", "run", "venv", "run"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_a_broken_stamp_is_none(make_venv: ModuleType, commands: list[str], text: str) -> None:
    make_venv.make("run", exactly=False)
    make_venv.STAMP.write_text(text)
    make_venv.make("run", exactly=False)
    assert commands == ["venv", "run", "venv", "run"]


# --- bench -----------------------------------------------------------------------------------------------------------


def test_bench_starts_anywhere_and_knows_no_ensemble_of_null_servers(checkout: Path) -> None:
    done = run(sys.executable, checkout / "scripts" / "bench", "--members", "3", "--null")
    assert done.returncode == 2
    assert done.stderr.endswith("bench: error: --null: there is no ensemble of null servers\n")


def test_bench_shows_zkpys_share_of_the_null_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    bench = module_of(ROOT / "scripts" / "bench")

    def cell(rate: float) -> dict[str, float]:
        return {"rate": rate, "p50_us": 80.0, "p99_us": 1500.0}

    cells = {"apache": [cell(7000)], "zkpy": [cell(9000), cell(12_000), cell(11_000)], "null": [cell(16_000)]}
    header, rows = bench.shape_rows({"shapes": {"get 1x1": cells}}, ["apache", "zkpy", "null"])
    assert dict(zip(header, rows[0], strict=True)) == {
        "shape": "get 1x1", "apache ops/s": "7,000", "zkpy ops/s": "11,000", "zkpy/apache": "1.57",
        "apache p50/p99 ms": "0.080 / 1.50", "zkpy p50/p99 ms": "0.080 / 1.50", "null ops/s": "16,000",
        "zkpy/null": "0.69",
    }  # fmt: skip
    lines = list(bench.table(header, rows, markdown=True))
    assert lines[0].endswith(" null ops/s | zkpy/null |")
    assert lines[2].endswith("     16,000 |      0.69 |")
    alone = bench.shape_rows({"shapes": {"get 1x1": {"zkpy": cells["zkpy"]}}}, ["zkpy"])
    assert alone == (["shape", "zkpy ops/s", "zkpy p50/p99 ms"], [["get 1x1", "11,000", "0.080 / 1.50"]])


def test_bench_asks_each_server_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.setattr(sys, "argv", ["bench", "--null", "--shapes", "get:1x2,session:3", "--rounds", "2"])
    bench = module_of(ROOT / "scripts" / "bench")
    asked = []

    class Named:
        """A server, as far as the order of measuring goes."""

        places = ("",)

        def __init__(self, name: str) -> None:
            self.name = name

        def purge(self) -> None:
            asked.append(("purge", self.name))

    class Noting(bench.Run):
        def __init__(self) -> None:
            self.options = bench.parse_arguments()
            self.results = {"shapes": {}}

        def measure(self, server: Named, place: str, name: str, op: str, conns: int, inflight: int) -> dict[str, float]:
            asked.append((server.name, name, op, conns, inflight))
            return {"rate": 1000.0, "p50_us": 1.0, "p99_us": 2.0}

    run = Noting()
    run.measure_shapes([Named(name) for name in run.options.servers])
    one, other = ("get 1x2", "get", 1, 2), ("session 3", "session", 3, 1)
    names = ("apache", "zkpy", "null")
    assert asked == [
        (name, *shape) if shape else ("purge", name)
        for shapes in ((one, one, None), (other, other, None)) for shape in shapes for name in names
    ]  # fmt: skip
    assert [len(cells["null"]) for cells in run.results["shapes"].values()] == [2, 2]


@pytest.mark.slow
def test_no_server_that_is_measured_outlives_a_script_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import argparse, pathlib, sys, time; import bench_servers as b\n"
        "options = argparse.Namespace(members=1, python=sys.executable)\n"
        "server = b.Server('zkpy', pathlib.Path(sys.argv[1]), options)\n"
        "server.start(); print(server.processes[0].pid, flush=True); time.sleep(60)"
    )
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT}"}
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, env=environ) as script:
        assert script.stdout is not None
        server = Path("/proc", script.stdout.readline().decode().strip(), "stat")
        assert server.exists()
        script.kill()
    deadline = time.monotonic() + 30
    while server.exists() and " Z " not in server.read_text():
        assert time.monotonic() < deadline, "the server lives on"
        time.sleep(0.02)


# --- failover --------------------------------------------------------------------------------------------------------


def test_failover_starts_anywhere_and_knows_its_servers(checkout: Path) -> None:
    done = run(sys.executable, checkout / "scripts" / "failover", "--servers", "zkpy,null")
    assert done.returncode == 2
    assert done.stderr.endswith("failover: error: --rounds is 1 or more, --servers are apache, zkpy or both\n")


@pytest.mark.slow
def test_failover_measures_from_the_leaders_end_to_the_first_write(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "failover", "--servers", "zkpy", "--rounds", "2", "--dir", tmp_path]
    done = run(*command, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^zkpy    median \d+\.\d{3} s   \d+\.\d{3} to \d+\.\d{3} s$", done.stdout, re.MULTILINE)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["seconds"]["zkpy"]) == 2
    assert figures["median_s"]["zkpy"] == sum(figures["seconds"]["zkpy"]) / 2 > 0
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.slow
def test_scale_measures_a_server_of_this_checkout(tmp_path: Path) -> None:
    report = tmp_path / "scale.json"
    command = (ROOT / "scripts" / "scale", "multis", "--servers", "zkpy", "--dir", tmp_path, "--json", report)
    done = run(sys.executable, *command)
    assert (done.returncode, "failed" in done.stdout) == (0, False), done.stdout + done.stderr
    figures = json.loads(report.read_text())["measures"]["multis"]["zkpy"]
    assert min(figures["set, us an operation, alone and in a multi"]) > 0
    assert figures["most processor time of a turn of these, ms"] > 0, "the stopwatch runs"
    assert done.stdout.startswith("| multis ")
