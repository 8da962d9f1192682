"""The unit, by systemd's own judgement."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.reflexctl import SYSTEM_SOCKET

UNIT = Path(__file__).parents[2] / "systemd" / "reflexd.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def verify(folder: Path, text: str) -> tuple[int, str]:
    """What `systemd-analyze verify` says to a unit."""
    path = folder / "reflexd.service"
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def unit() -> str:
    """The unit, with a command that exists on this machine."""
    text, count = re.subn(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.MULTILINE)
    assert count == 1
    return text


@needs_systemd
def test_systemd_has_nothing_to_say_against_it(unit: str, tmp_path: Path) -> None:
    assert verify(tmp_path, unit) == (0, "")


@needs_systemd
def test_systemd_would_say_something_against_a_bad_one(unit: str, tmp_path: Path) -> None:
    assert "WatchdogSecond" in verify(tmp_path, unit.replace("WatchdogSec=", "WatchdogSecond="))[1]


@needs_systemd
def test_its_exposure_is_what_the_page_says(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "reflexd.service"
    path.write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=35", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_daemon_counts_on() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    service = parser["Service"]
    assert service["Type"] == "notify"
    assert service["LimitRTPRIO"] == "99"
    assert service["LimitMEMLOCK"] == "infinity"
    assert service["WatchdogSec"] == "2"
    assert SYSTEM_SOCKET.parent == Path("/run", service["RuntimeDirectory"])
    for forbidden in ("PrivateDevices", "DeviceAllow", "ProtectClock", "PrivateNetwork", "RestrictRealtime"):
        assert forbidden not in service
