"""What the daemon tells about itself: plain dictionaries for the control socket."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

from drivers.bus import Bus, BusCounters
from runtime import version
from runtime.control.modes import LATCHED, Mode
from runtime.policy.planner import Planner
from runtime.policy.tasks import Tasks
from safety.axis import Limit

if TYPE_CHECKING:
    from runtime.daemon import Daemon

_PAGE = os.sysconf("SC_PAGESIZE")


def memory_mb() -> float:
    """Resident memory of this process, MB (10^6 bytes)."""
    with open("/proc/self/statm") as file:
        return round(int(file.read().split()[1]) * _PAGE / 1e6, 1)


def status(daemon: Daemon) -> dict[str, Any]:
    """Everything at a glance; see docs/control-socket.md."""
    ticks, loop = daemon.ticker.ticks, daemon.loop
    supervisor, planner = daemon.supervisor, daemon.planner
    now_ns = time.monotonic_ns()
    elapsed_s = max((now_ns - ticks.origin_ns) / 1e9, 1e-9)
    return {
        "robot": daemon.config.robot.name,
        "config": str(daemon.config.path),
        "version": version(),
        "mode": loop.modes.mode.name,
        "stop": {"category": supervisor.category, "reasons": supervisor.reasons},
        "estop": supervisor.estop_state,
        "drive_enable": supervisor.drive_enabled,
        "reset_by": daemon.boot.reset_by,
        "health": daemon.health.status(),
        "stage": daemon.commissioning.status() if daemon.commissioning is not None else None,
        "tick": ticks.number,
        "rate_hz": daemon.config.control.rate,
        "rate_measured_hz": round((ticks.number + 1 - ticks.missed) / elapsed_s, 3),
        "missed_deadlines": ticks.missed,
        "uptime_s": round(elapsed_s, 4),
        "lateness_us": ticks.lateness.summary_us(),
        "cost_us": loop.cost.summary_us(),
        "plan_ahead_s": round(planner.timeline.ahead_s(now_ns), 3) if planner else None,
        "starved_ticks": planner.starved_ticks if planner else 0,
        "seam_step_max_rad": round(planner.seam_step_max, 4) if planner else None,
        "policy": _policy(daemon),
        "limits": {str(limit.name).lower(): int(counts.sum()) for limit, counts in daemon.envelope.counts.items()},
        "buses": [{"name": bus.name, "busy": bus.busy, **_counters(bus)} for bus in daemon.buses],
        "sensors": [
            {"name": s.name, "age_s": round((now_ns - s.stamp_ns) / 1e9, 4) if s.stamp_ns else None}
            for s in daemon.sensors
        ],
        "commands": planner.commands.as_dict() if planner else {},
        "task": planner.tasks.now.as_dict() if planner and planner.tasks.all else None,
        "episode": daemon.episodes.status(),
        "recording": _recording(daemon),
        "spool": daemon.spool.status if daemon.spool is not None else None,
        "realtime": [
            {"item": item.name, "achieved": item.achieved, "detail": item.detail} for item in daemon.realtime.items
        ],
        "memory_mb": daemon.memory_mb,
        "events": dict(daemon.events.counts),
    }


def joints(daemon: Daemon) -> list[dict[str, Any]]:
    """One entry per joint, in the robot's order; numbers that were never measured are null."""
    state, loop = daemon.state, daemon.loop
    now_ns = time.monotonic_ns()
    measured = dict(zip(state.MEASURED, state.measured.tolist(), strict=True))
    stamps, misses, faults = state.counted.tolist()
    commands = loop.command.tolist()
    limits = {str(limit.name).lower(): counts.tolist() for limit, counts in daemon.envelope.counts.items()}
    result: list[dict[str, Any]] = [{}] * len(stamps)
    for bus in daemon.buses:
        for joint, i in zip(bus.joints, bus.index.tolist(), strict=True):
            result[i] = {
                "name": joint.name,
                "bus": bus.name,
                "id": joint.id,
                **{name: _number(values[i]) for name, values in measured.items()},
                "age_s": round((now_ns - stamps[i]) / 1e9, 4) if stamps[i] else None,
                "goal": _number(commands[i]) if loop.modes.energised else None,
                "missed": misses[i],
                "fault": bus.explain(faults[i]) if faults[i] else None,
                "limit": {name: counts[i] for name, counts in limits.items()},
            }
    return result


def limits(daemon: Daemon) -> list[dict[str, Any]]:
    """One entry per joint, in the robot's order: which limits act now, and in how many ticks since the start."""
    envelope = daemon.envelope
    now = envelope.limits.tolist() if daemon.loop.modes.energised else [0] * len(daemon.config.joints)
    counts = {str(limit.name).lower(): ticks.tolist() for limit, ticks in envelope.counts.items()}
    return [
        {
            "name": joint.name,
            "now": [str(limit.name).lower() for limit in Limit if now[i] & limit],
            **{name: ticks[i] for name, ticks in counts.items()},
        }
        for i, joint in enumerate(daemon.config.joints)
    ]


def known_tasks(daemon: Daemon) -> dict[str, Any]:
    """The policy's task in force, and those that there are."""
    found = daemon.planner.tasks if daemon.planner is not None else Tasks()
    return {
        "task": found.now.as_dict(),
        "tasks": [task.as_dict() for task in found.all],
        "any_prompt": found.any_prompt,
    }


def headline(daemon: Daemon) -> str:
    """One line for `systemctl status`."""
    mode = daemon.loop.modes.mode
    text = f"{daemon.config.robot.name}: {mode.name}"
    if mode in LATCHED or daemon.supervisor.latched:
        text += f" ({'; '.join(daemon.supervisor.latched) or 'reflexctl events tells why'})"
    elif mode == Mode.AUTO and daemon.planner is not None and daemon.planner.starved:
        text += " (starved: holding)"
    return text


def _policy(daemon: Daemon) -> dict[str, Any]:
    planner = daemon.planner
    if planner is None:
        return {"state": "none"}
    policy = planner.policy
    state = "ready" if policy.ready else "restarting" if policy.failures else "starting"
    if policy.away:
        state = "unavailable"
    if daemon.policy_error:
        state = "failed"
    return {
        "state": state,
        "error": daemon.policy_error or None,
        "inline": bool(daemon.config.policy and daemon.config.policy.inline),
        "pid": getattr(policy, "pid", None),
        "latency_ms": round(policy.latency.last_ns / 1e6, 2),
        "latency_max_ms": round(policy.latency.recent_max_ns / 1e6, 2),
        "chunks": planner.chunks,
        "useless_chunks": planner.useless_chunks,
        "seam": _seam(planner),
        "fallback": _fallback(planner),
        "failures": dict(policy.failures),
        "restarts": policy.restarts,
    }


def _seam(planner: Planner) -> dict[str, Any]:
    """The strategy, and what the last seam did."""
    last = planner.seam
    return {
        "strategy": planner.source.strategy.name,
        "before_rad": round(last.before_rad, 4) if last else None,
        "after_rad": round(last.after_rad, 4) if last else None,
        "fade_s": last.fade_s if last else None,
        "before_max_rad": round(planner.seam_before_max, 4),
    }


def _fallback(planner: Planner) -> str | None:
    if planner.fallback is None:
        return None
    if planner.falls_back:
        return "moves the robot"
    return "ready" if planner.fallback.policy.ready else "not ready"


def _recording(daemon: Daemon) -> dict[str, Any] | None:
    recorder = daemon.recorder
    if recorder is None:
        return None
    return {
        "path": str(recorder.path) if recorder.path else None,
        "bytes": recorder.file_bytes,
        "dropped": recorder.dropped,
        "failed": recorder.failed or None,
    }


def _counters(bus: Bus) -> dict[str, int]:
    return {name: getattr(bus.counters, name) for name in BusCounters.__slots__}


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
