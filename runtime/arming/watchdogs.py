"""Arming checks: somebody acts when the daemon is frozen: a watchdog of the machine, and that of each motor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from drivers.bus import Bus
from safety.watchdog import Watchdog


def is_service(env: Mapping[str, str]) -> bool:
    """Whether systemd has started this process, and waits to hear from it (systemd.exec(5), sd_notify(3))."""
    return "INVOCATION_ID" in env and "NOTIFY_SOCKET" in env


def watchdogs(watchdogs: Sequence[Watchdog], service: bool) -> list[str]:
    """The watchdogs that the safety thread feeds. `service`: the daemon is a service, which is to have one."""
    reasons = [
        f"{one.name} is not armed, expected it to be since the start; restart the daemon"
        for one in watchdogs
        if not one.armed
    ]
    if service and not watchdogs:
        reasons.append(
            "nobody restarts this service when it is frozen: found neither WatchdogSec= in its unit nor "
            "[safety.watchdog] in the config; set WatchdogSec=2, as the unit reflexd@.service has it"
        )
    return reasons


def motors(buses: Sequence[Bus], run_without: Collection[str]) -> list[str]:
    """The motors' own. `run_without`: names of buses whose motors are accepted without one."""
    return [
        f"bus {bus.name}: the motors of {', '.join(bus.unwatched)} have no watchdog that was set and read back: "
        "they would not stop by themselves; reset, which sets it again, or accept it: run_without_watchdog = true"
        for bus in buses
        if bus.unwatched and bus.name not in run_without
    ]
