"""The units, by systemd's own judgement."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.find import SERVICES
from tests.systemd.conftest import REPOSITORY

FOLDER = REPOSITORY / "systemd"
UNITS = sorted(path.name for path in (FOLDER / "system").iterdir())
DROP_INS = sorted(path.name for path in (FOLDER / "drop-ins").iterdir())

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def analyze(*words: str | Path) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with commands that exist on this machine."""
    for name in UNITS:
        text = (FOLDER / "system" / name).read_text()
        (tmp_path / name).write_text(re.sub(r"=/opt/reflexd/\S+", f"={sys.executable}", text))
    return tmp_path


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_against_it(units: Path, name: str) -> None:
    assert analyze("verify", units / name) == (0, "")


@needs_systemd
@pytest.mark.parametrize("drop_in", DROP_INS)
def test_nor_against_a_drop_in(units: Path, drop_in: str) -> None:
    folder = units / "reflexd@.service.d"
    folder.mkdir()
    shutil.copy(FOLDER / "drop-ins" / drop_in, folder)
    assert analyze("verify", units / "reflexd@.service") == (0, "")


@needs_systemd
def test_systemd_would_say_something_against_a_bad_one(units: Path) -> None:
    path = units / "reflexd@.service"
    path.write_text(path.read_text().replace("WatchdogSec=", "WatchdogSecond="))
    assert "WatchdogSecond" in analyze("verify", path)[1]


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_its_exposure_is_at_most_two(units: Path, name: str) -> None:
    code, told = analyze("security", "--offline=true", "--threshold=20", "--no-pager", units / name)
    assert code == 0, told


def test_what_the_daemon_counts_on() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FOLDER / "system/reflexd@.service")
    service = parser["Service"]
    assert service["Type"] == "notify"
    assert service["LimitRTPRIO"] == "99"
    assert service["LimitMEMLOCK"] == "infinity"
    assert service["WatchdogSec"] == "2"
    assert Path("/run", service["RuntimeDirectory"]) == SERVICES / "%i"
    for forbidden in ("PrivateDevices", "PrivateNetwork", "RestrictRealtime", "MemoryDenyWriteExecute"):
        assert forbidden not in service
    # Five starts, or stops, that run into their time-outs fit into the window: the limit is always reached.
    slowest_s = sum(int(service[key]) for key in ("TimeoutStartSec", "TimeoutStopSec", "RestartSec"))
    unit = parser["Unit"]
    assert int(unit["StartLimitIntervalSec"]) > int(unit["StartLimitBurst"]) * slowest_s
    assert unit["StartLimitAction"] == "none"
    emulator = configparser.ConfigParser(strict=False, interpolation=None)
    emulator.read(FOLDER / "system/reflexd-emulator@.service")
    assert emulator["Service"]["RuntimeDirectory"] == service["RuntimeDirectory"]
    assert emulator["Service"]["RuntimeDirectoryPreserve"] == service["RuntimeDirectoryPreserve"] == "yes"
