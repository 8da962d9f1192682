"""One scenario is one file, `test_NAME.py`, with one test `test_NAME`; its robot is the fixture `rig`."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.rig.harness import build, residue
from tests.rig.harness.agent import MachineGone
from tests.rig.harness.bench import load
from tests.rig.harness.build import Frozen, NoRig
from tests.rig.harness.places import RESULTS
from tests.rig.harness.report import Row, table
from tests.rig.harness.rig import Refused, Rig
from tests.rig.harness.target import BenchTarget, VirtualTarget

Step = Callable[[Rig], None]
ROWS = pytest.StashKey[dict[str, Row]]()
JOURNAL = "journalctl --no-pager -o short-monotonic -b"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--target", type=Path, metavar="BENCH.toml", help="real hardware instead of a virtual machine"
    )
    parser.addoption("--cuts", type=int, default=20, metavar="N", help="of the power, in the scenario power_cut")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = {}
    config.addinivalue_line("markers", "virtual: breaks its computer; on a bench it is skipped")
    config.addinivalue_line("markers", "long(minutes): the longest is begun first")
    config.addinivalue_line("markers", "prepared(how, undo): begins with the robot as `how` leaves it")
    config.pluginmanager.register(Rows(config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_minutes, reverse=True)
    if config.getoption("--target"):
        for item in items:
            if item.get_closest_marker("virtual"):
                item.add_marker(pytest.mark.skip("it breaks its computer, which only a virtual one survives"))


def _minutes(item: pytest.Item) -> float:
    mark = item.get_closest_marker("long")
    return float(mark.args[0]) if mark else 0.0


def scenario(nodeid: str) -> str:
    """`estop_presses` for `tests/rig/test_estop_presses.py::test_estop_presses`."""
    return nodeid.partition("::test_")[2]


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config) -> BenchTarget | None:
    """The bench that --target names, its board set up."""
    path = pytestconfig.getoption("--target")
    if path is None:
        return None
    target = BenchTarget(load(path))
    target.set_up()
    return target


@pytest.fixture(scope="session")
def ready() -> Frozen:
    """The machine with the rig's robot, ready and disarmed. Skips where no machine can be had."""
    try:
        with build.alone():
            build.needs()
            return build.ready()
    except NoRig as problem:
        pytest.skip(str(problem))
    except (RuntimeError, MachineGone) as problem:
        pytest.exit(f"the rig could not be set up: {problem}", returncode=1)


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Path:
    """The scenario's own folder of results, empty."""
    folder = RESULTS / scenario(request.node.nodeid)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def disks() -> Iterator[Path]:
    """A folder for the changes of disks, thrown away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="rig-disks-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def rig(request: pytest.FixtureRequest, results: Path, bench: BenchTarget | None) -> Iterator[Rig]:
    """The robot, ready and disarmed. At the end nothing may be left, and the journal is brought back."""
    how, undo = preparation(request.node)
    if bench is not None:
        rig = Rig(bench)
        before = residue.look(rig)
        how(rig)
        yield from _watched(rig, request, results, before, undo)
        return
    frozen: Frozen = request.getfixturevalue("ready")
    if how is not nothing:
        frozen = build.prepared(frozen, how)
    folder: Path = request.getfixturevalue("disks")
    target = VirtualTarget(frozen.thaw(folder))
    try:
        yield from _watched(Rig(target), request, results, frozen.usual())
    finally:
        target.qemu.kill()
        shutil.copy(folder / "console.txt", results)


def nothing(rig: Rig) -> None:
    """Prepare nothing, and put nothing back."""


def preparation(item: pytest.Item) -> tuple[Step, Step]:
    """What is done before a scenario begins, and what undoes it on a bench, which is not thrown away."""
    mark = item.get_closest_marker("prepared")
    steps = mark.kwargs if mark else {}
    return steps.get("how", nothing), steps.get("undo", nothing)


def _watched(
    rig: Rig, request: pytest.FixtureRequest, results: Path, before: dict[str, Any], undo: Step = nothing
) -> Iterator[Rig]:
    request.node.user_properties.append(("facts", rig.facts))
    rig.before = before
    try:
        yield rig
        undo(rig)
        found = residue.left(rig)
        assert not found, "the scenario has left something behind:\n" + "\n".join(found)
    finally:
        with suppress(MachineGone, OSError, AssertionError):
            bring_back(rig, results)


def bring_back(rig: Rig, results: Path) -> None:
    """Journal, status and recordings of a machine, into the scenario's results."""
    (results / "journal.txt").write_text(rig.run(JOURNAL).out)
    with suppress(Refused):
        (results / "status.json").write_text(json.dumps(rig.status(), indent=1))
    packed = rig.run("tar -C /var/lib/reflexd -cz . | base64 -w0", timeout_s=120.0).out
    subprocess.run(
        ["bash", "-c", 'mkdir -p "$1" && base64 -d | tar -xz --no-same-owner -C "$1"', "-", results / "data"],
        input=packed,
        text=True,
        check=False,
    )


class Rows:
    """Makes the table's rows from pytest's reports, whichever process they come from."""

    def __init__(self, config: pytest.Config) -> None:
        self._rows = config.stash[ROWS]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = scenario(report.nodeid)
        row = self._rows.setdefault(name, Row(name, "passed", 0.0, ()))
        row.seconds += report.duration
        row.facts = next((tuple(facts) for key, facts in report.user_properties if key == "facts"), ())  # type: ignore[arg-type]
        if report.outcome != "passed":
            row.outcome = "**failed**" if report.failed else "skipped"
            row.facts += (_reason(report),)


def _reason(report: pytest.TestReport) -> str:
    """The first line of why a scenario has failed or was skipped."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash is not None else report.longrepr
    return str(said[2] if isinstance(said, tuple | list) else said).partition("\n")[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS].values()
    if not rows or hasattr(config, "workerinput"):  # one of xdist's workers, which knows only its own
        return
    text = table(rows, virtual=not config.getoption("--target"))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "summary.md").write_text(f"# Rig, {time.strftime('%Y-%m-%d %H:%M')}\n\n{text}")
    terminalreporter.write_sep("=", "rig")
    terminalreporter.write(text)
