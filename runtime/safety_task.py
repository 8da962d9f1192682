"""The safety task of a daemon: its supervisor, and the watchdogs that hear from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from runtime.events import Level
from runtime.lines import Lines
from runtime.notify import watchdog_period_s
from runtime.watches import build_watches
from safety.supervisor import Supervisor
from safety.watchdog import HardwareWatchdog, ServiceWatchdog, Watchdog

if TYPE_CHECKING:
    from runtime.daemon import Daemon

_DISABLE_S = 2.0
"""Longest time for all motors to confirm that their torque is off, dead ones included."""


def watchdogs(daemon: Daemon) -> list[Watchdog]:
    """That of systemd and that of the machine, as far as they are there."""
    period_s, hardware = watchdog_period_s(), daemon.config.safety.watchdog
    found: list[Watchdog] = [ServiceWatchdog(daemon.notifier.watchdog, period_s)] if period_s else []
    if hardware:
        found.append(HardwareWatchdog(hardware.device, hardware.timeout))
    return found


def supervisor(daemon: Daemon, lines: Lines) -> Supervisor:
    """It begins to watch when it is started. `lines`: those that the config names, open."""
    config = daemon.config
    safety = config.safety
    slowest_ramp_s = max(
        joint.velocity_max / joint.acceleration_max + joint.jerk_window for joint in config.joints
    )

    def tell(name: str, message: str, level: str, fields: dict[str, Any]) -> None:
        daemon.events.emit(name, message, cast(Level, level), **fields)

    return Supervisor(
        estop=lines.estop,
        drive_enable=lines.drive_enable,
        torque_off=[bus.torque_off for bus in daemon.buses],
        gate=daemon.gate,
        beat=daemon.heartbeat,
        stall_s=config.stall_s,
        tick_s=config.period_s,
        priority=safety.priority,
        on_event=tell,
        watchdogs=daemon.watchdogs,
        heartbeat_line=lines.heartbeat,
        heartbeat_period_s=config.heartbeat_period_s,
        stop_timeout_s=slowest_ramp_s + _DISABLE_S,
        feedback=lines.drive_feedback,
        feedback_s=safety.drive_feedback_time,
        release_s=safety.estop_release,
        watches=build_watches(config, daemon.state, daemon.sensors, lambda: daemon.loop.command, daemon.gate),
        slow_speed=safety.slow_speed,
        hold_after_stop=any(joint.after_stop == "hold" for joint in config.joints),
    )
