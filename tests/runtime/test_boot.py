from __future__ import annotations

from pathlib import Path

import pytest

from runtime.boot import Boot
from runtime.events import Events


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Two watchdogs, of which the second one has made the last reset."""
    for number, (status, identity) in enumerate([("0\n", "iTCO_wdt\n"), ("32\n", "i6300ESB timer\n")]):
        entry = tmp_path / f"sysfs/watchdog{number}"
        entry.mkdir(parents=True)
        (entry / "bootstatus").write_text(status)
        (entry / "identity").write_text(identity)
    return tmp_path / "sysfs"


def tell(boot: Boot, tmp_path: Path, boot_id: str = "this-boot") -> Events:
    events = Events()
    (tmp_path / "boot_id").write_text(f"{boot_id}\n")
    boot.tell(events, tmp_path / "state", tmp_path / "boot_id")
    return events


def test_a_reset_is_found_by_its_watchdog(sysfs: Path) -> None:
    assert Boot.read(Path("/dev/watchdog1"), sysfs).reset_by == "i6300ESB timer"
    assert Boot.read(None, sysfs).reset_by == "i6300ESB timer"
    assert Boot.read(Path("/dev/watchdog0"), sysfs).reset_by is None, "another one's reset is not its own"


def test_other_bits_are_no_reset(sysfs: Path) -> None:
    (sysfs / "watchdog1/bootstatus").write_text("1\n")
    assert Boot.read(None, sysfs).reset_by is None
    (sysfs / "watchdog1/bootstatus").write_text("33\n")
    assert Boot.read(None, sysfs).reset_by is not None


def test_where_sysfs_says_nothing_nothing_is_said(tmp_path: Path, sysfs: Path) -> None:
    assert Boot.read(None, tmp_path / "none").reset_by is None
    assert Boot.read(Path("/dev/watchdog7"), sysfs).reset_by is None
    (sysfs / "watchdog1/bootstatus").write_text("nonsense\n")
    assert Boot.read(None, sysfs).reset_by is None
    assert not tell(Boot(None), tmp_path).recent
    assert not (tmp_path / "state").exists()


def test_it_is_told_once_in_each_boot(tmp_path: Path, sysfs: Path) -> None:
    boot = Boot.read(None, sysfs)
    (event,) = tell(boot, tmp_path).recent
    assert (event.name, event.level) == ("boot.reset", "warning")
    assert event.message == (
        "the machine was reset by its hardware watchdog i6300ESB timer: the daemon or the system had frozen; "
        "nothing moves until a person arms it"
    )
    assert not tell(boot, tmp_path).recent, "the daemon alone was restarted"
    assert len(tell(boot, tmp_path, "the-next-boot").recent) == 1


def test_a_state_folder_that_cannot_be_written_does_not_keep_it_from_being_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    assert len(tell(Boot("i6300ESB timer"), tmp_path).recent) == 1
