"""Whether the machine was reset by a hardware watchdog: told once after a boot, and kept in the status."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from runtime.events import Events
from safety.watchdog import SYSFS, sysfs_entry

CARD_RESET = 0x0020
"""WDIOF_CARDRESET of `bootstatus` (linux/watchdog.h): the watchdog has made the last reset."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""A text of its own for every boot (random(4))."""


@dataclass(frozen=True, slots=True)
class Boot:
    """How this boot came about."""

    reset_by: str | None
    """The hardware watchdog that reset the machine; None when none did, or when nobody knows."""

    @classmethod
    def read(cls, device: Path | None, sysfs: Path = SYSFS) -> Boot:
        """Ask the watchdog `device`, or all that there are. The kernel keeps the answer until the next boot."""
        entries = [sysfs_entry(device, sysfs)] if device is not None else sorted(sysfs.glob("watchdog*"))
        for entry in entries:
            with contextlib.suppress(OSError, ValueError):
                if int((entry / "bootstatus").read_text(), 0) & CARD_RESET:
                    return cls(_name(entry))
        return cls(None)

    def tell(self, events: Events, state: Path, boot_id: Path = BOOT_ID) -> None:
        """Emit `boot.reset` after a reset, at the first start in this boot. `state`: where that is remembered."""
        if self.reset_by is None:
            return
        told = state / "boot_reset_told"
        with contextlib.suppress(OSError):
            if told.read_text() == boot_id.read_text():
                return
        events.emit(
            "boot.reset",
            f"the machine was reset by its hardware watchdog {self.reset_by}: the daemon or the system had "
            "frozen; nothing moves until a person arms it",
            level="warning",
            watchdog=self.reset_by,
        )
        with contextlib.suppress(OSError):  # told twice is better than not at all
            state.mkdir(parents=True, exist_ok=True)
            told.write_text(boot_id.read_text())


def _name(entry: Path) -> str:
    with contextlib.suppress(OSError):
        return (entry / "identity").read_text().strip() or entry.name
    return entry.name
