"""Which arming checks a daemon has, and where each looks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runtime.arming.arming import Arming
from runtime.arming.cameras import cameras
from runtime.arming.clock import clock
from runtime.arming.disk import disk
from runtime.arming.drive_enable import drive_enable
from runtime.arming.estop import estop
from runtime.arming.joints import joints
from runtime.arming.model import model, policy
from runtime.arming.realtime import realtime
from runtime.arming.sensors import sensors
from runtime.arming.watchdogs import is_service, motors, watchdogs

if TYPE_CHECKING:
    from runtime.daemon import Daemon


def checks(daemon: Daemon) -> Arming:
    """All of them, in the order in which people read them. They look at the daemon when they are asked."""
    config, supervisor = daemon.config, daemon.supervisor
    safety = config.safety
    limits = safety.arming
    max_age_s = {plan.options.name: plan.options.max_age for plan in config.sensors}
    unwatched = {plan.options.name for plan in config.buses if plan.options.run_without_watchdog}
    service = is_service(os.environ)
    return Arming(
        quick={
            "e-stop": lambda now_ns: estop(
                supervisor.estop_state, supervisor.latched, supervisor.alive, safety.run_without_estop
            ),
            "drive-enable": lambda now_ns: drive_enable(
                safety.drive_enable is not None, supervisor.drive_enabled, supervisor.power_cut
            ),
            "watchdogs": lambda now_ns: watchdogs(daemon.watchdogs, service),
            "motor watchdogs": lambda now_ns: motors(daemon.buses, unwatched),
            "joints": lambda now_ns: joints(daemon.buses, daemon.state, limits.temperature_max, now_ns),
            "sensors": lambda now_ns: sensors(daemon.sensors, max_age_s, now_ns),
            "cameras": lambda now_ns: cameras(daemon.seen_cameras(), now_ns),
            "policy": lambda now_ns: policy(
                config.policy is not None, all(each.ready for each in daemon.policies), daemon.policy_error
            ),
            "real time": lambda now_ns: realtime(daemon.realtime.items, config.realtime.required),
            "health": lambda now_ns: daemon.health.bars_arming(),
            "stage": lambda now_ns: daemon.commissioning.reasons() if daemon.commissioning is not None else [],
        },
        slow={
            "model": lambda: [
                reason
                for name, each in config.policies.items()
                for reason in model(daemon.models.get(name), each.sha256)
            ],
            "disk": lambda: disk(config.recording.directory, limits.disk_free) if config.recording.enabled else [],
            "clock": lambda: clock(limits.clock),
        },
    )
