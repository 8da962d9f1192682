"""What must hold across sections. A rule looks only at parts that are valid; the others are reported already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from drivers.bus import Bus, BusOptions, CycleTime
from drivers.gpio.options import EmulatedLine, GpioLine
from drivers.joint import Joint
from runtime.config import (
    camera_rules,
    degraded_rules,
    monitor_rules,
    policy_rules,
    recording_rules,
    task_rules,
    zone_rules,
)
from runtime.config.draft import BusPlan, Draft
from runtime.config.models import Emulated, Safety
from runtime.config.paths import CLASS_PATTERN, Place, beside
from runtime.config.upload import missing_package
from runtime.config.words import found, meant, one_of

FILL_LIMIT = 0.9
"""A cycle of a bus may fill this part of a period; the rest is for what the arithmetic does not know."""
WATCHDOG_PERIODS = 3
"""Periods of the loop that the motors' own watchdog has to wait."""


def apply(draft: Draft) -> list[str]:
    """Report every mistake across sections, finish the models, and return the warnings."""
    warnings: list[str] = []
    _names(draft)
    _buses(draft, _joints_on_buses(draft), warnings)
    _safety(draft, warnings)
    monitor_rules.apply(draft)
    zone_rules.apply(draft)
    camera_rules.apply(draft)
    degraded_rules.apply(draft)
    policy_rules.apply(draft)
    task_rules.apply(draft)
    recording_rules.apply(draft)
    if draft.emulated:
        _emulated(draft, draft.emulated, warnings)
    if draft.upload and (problem := missing_package()) is not None:
        draft.report(("upload",), problem)
    if draft.upload and draft.recording and not draft.recording.enabled:
        warnings.append("[upload] sends nothing, because recording.enabled is false")
    if draft.recording:
        directory = Path(beside(draft.path, str(draft.recording.directory)))
        draft.recording = draft.recording.model_copy(update={"directory": directory})
    return warnings


def _names(draft: Draft) -> None:
    for section in ("bus", "joint", "sensor"):
        first: dict[str, int] = {}
        for number in range(len(draft.entries(section))):
            name = draft.written(section, number, "name")
            if name is not None and first.setdefault(name, number) != number:
                draft.report(
                    (section, number, "name"),
                    f"found {found(name)}, which {section}[{first[name]}] has already, expected a name of "
                    "its own; rename one of them",
                )


def _joints_on_buses(draft: Draft) -> set[int]:
    """Report joints on unknown buses and ids that are taken; returns the numbers of the latter's joints."""
    twins: set[int] = set()
    buses = [name for n in range(len(draft.entries("bus"))) if (name := draft.written("bus", n, "name"))]
    if not buses:
        return twins
    owner: dict[tuple[str, object], int] = {}
    for number, entry in enumerate(draft.entries("joint")):
        bus, motor = draft.written("joint", number, "bus"), entry.get("id")
        if bus is None:
            continue
        if bus not in buses:
            advice = meant(bus, buses, "correct it or add the bus")
            draft.report(("joint", number, "bus"), f"found {found(bus)}, expected {one_of(buses)}; {advice}")
        elif isinstance(motor, int) and owner.setdefault((bus, motor), number) != number:
            other = draft.key(("joint", owner[bus, motor]))
            draft.report(
                ("joint", number, "id"),
                f"found {motor}, which {other} on bus {bus} has already, expected an id of its own; "
                "a motor moves one joint",
            )
            twins.add(number)
    return twins


def _buses(draft: Draft, twins: set[int], warnings: list[str]) -> None:
    """Ask each driver about its joints, and do the arithmetic of each bus."""
    incomplete = {draft.written("joint", n, "bus") for n, joint in enumerate(draft.joints) if not joint}
    for number, bus in enumerate(draft.buses):
        if not bus:
            continue
        driver, options = bus
        members = {n: joint for n, joint in enumerate(draft.joints) if joint and joint.bus == options.name}
        if not members:
            if options.name not in incomplete and draft.joints:
                draft.report(("bus", number), "found no joint on this bus, expected one; add it or remove the bus")
            continue
        problems = driver.problems(options, [joint for n, joint in members.items() if n not in twins])
        for problem in problems:
            draft.report(_place_of(problem, ("bus", number), members), problem)
        _brakes(draft, driver, members)
        if problems or options.name in incomplete or not draft.control:
            continue
        if options.run_without_watchdog:
            warnings.append(
                f"bus {options.name}: run_without_watchdog is true: its motors may go on when the daemon is frozen"
            )
        _watchdog(draft, ("bus", number, "watchdog"), options, draft.control.rate)
        joints = tuple(members.values())
        cycle = driver.cycle_time(options, joints)
        if cycle.seconds * draft.control.rate > FILL_LIMIT:
            draft.report(("bus", number), _too_slow(cycle, draft.control.rate))
        draft.plans.append(BusPlan(options, driver, joints, tuple(members), cycle))


def _brakes(draft: Draft, driver: type[Bus], members: Mapping[int, Joint]) -> None:
    for number, joint in members.items():
        if joint.after_stop == "brake" and not getattr(driver, "has_brake", False):
            draft.report(
                ("joint", number, "after_stop"),
                f'found "brake", but the driver of bus {joint.bus} says of no motor that it has a holding brake, '
                'expected "limp" or "hold"; a joint that would fall wants "hold"',
            )


def _watchdog(draft: Draft, place: Place, options: BusOptions, rate: float) -> None:
    seconds = getattr(options, "watchdog", None)
    if isinstance(seconds, float) and seconds * rate < WATCHDOG_PERIODS:
        draft.report(
            place,
            f"found {seconds:g}, expected at least {WATCHDOG_PERIODS} periods of the loop "
            f"({WATCHDOG_PERIODS / rate:g} s at {rate:g} Hz): a single late tick must not stop "
            "the motors; raise it or control.rate",
        )


def _place_of(problem: str, bus: Place, members: Mapping[int, Joint]) -> Place:
    """Drivers begin a problem of one joint with `joint NAME: `."""
    return next((("joint", n) for n, joint in members.items() if problem.startswith(f"joint {joint.name}: ")), bus)


def highest_rate(cycle: CycleTime) -> float:
    """Ticks per second that a bus with this cycle carries, Hz, rounded down."""
    rate = FILL_LIMIT / cycle.seconds
    return math.floor(rate) if rate >= 10 else math.floor(rate * 10) / 10


def _too_slow(cycle: CycleTime, rate: float) -> str:
    return (
        f"one cycle takes {cycle.seconds * 1e3:.3g} ms ({cycle.explanation}); at {rate:g} Hz a period is "
        f"{1e3 / rate:.3g} ms, of which a bus may fill {FILL_LIMIT:.0%}; highest rate "
        f"{highest_rate(cycle):g} Hz; lower control.rate or spread the joints over more buses"
    )


def _safety(draft: Draft, warnings: list[str]) -> None:
    safety, realtime, control = draft.safety, draft.realtime, draft.control
    if safety and realtime and safety.priority <= realtime.priority:
        draft.report(
            ("safety", "priority"),
            f"found {safety.priority}, expected more than realtime.priority ({realtime.priority}): the safety "
            "task must not wait for the control loop; raise it",
        )
    if safety and control and safety.stall is not None and safety.stall * control.rate < 2:
        draft.report(
            ("safety", "stall"),
            f"found {safety.stall:g}, expected at least 2 periods of the loop ({2 / control.rate:g} s at "
            f"{control.rate:g} Hz): a single late tick must not stop the robot; raise it or leave it out",
        )
    if not safety:
        return
    _heartbeat(draft, safety, warnings)
    if safety.stages is not None and safety.stages.single_person:
        warnings.append("safety.stages.single_person is true: nobody else looks before the robot gets faster")
    _workspace(draft, safety)
    if safety.estop is None and safety.run_without_estop:
        warnings.append("safety.run_without_estop is true: motors are energised and no e-stop can stop them")
    elif safety.estop is None:
        warnings.append(
            "no [safety.estop]: the daemon runs but refuses to arm; configure the e-stop line, or set "
            "safety.run_without_estop = true for a robot that cannot hurt anybody"
        )
    elif safety.run_without_estop:
        warnings.append("safety.run_without_estop has no effect while [safety.estop] is there; remove it")
    if safety.estop_second is not None and safety.estop is None:
        draft.report(("safety", "estop_second"), "found a second channel without a first; name it [safety.estop]")
    if safety.drive_feedback is not None and safety.drive_enable is None:
        draft.report(
            ("safety", "drive_feedback"),
            "found a feedback, but no [safety.drive_enable] that it could follow; add the output or remove this",
        )
    if safety.drive_enable is None:
        warnings.append(
            "no [safety.drive_enable]: nothing cuts the motors' power when a bus does not answer; "
            "configure the line that feeds the power relay"
        )


def _workspace(draft: Draft, safety: Safety) -> None:
    """Whether the workspace's model can be read; what must be in it is up to `runtime.config.workspace`."""
    workspace = safety.workspace
    if workspace is None:
        return
    if find_spec("mujoco") is None:
        draft.report(
            ("safety", "workspace"),
            "found no package mujoco, expected it because of this section; install the extra `model` "
            "(pip install 'reflexd[model]') or remove the section",
        )
    path = draft.existing_file(("safety", "workspace", "model"), workspace.model, "an MJCF or URDF model")
    draft.safety = safety.model_copy(update={"workspace": workspace.model_copy(update={"model": path})})


def _heartbeat(draft: Draft, safety: Safety, warnings: list[str]) -> None:
    period_s = safety.heartbeat_period
    if period_s is None:
        return
    if safety.heartbeat is None:
        warnings.append("safety.heartbeat_period has no effect without [safety.heartbeat]; remove it")
    elif draft.control and period_s < (stall_s := safety.stall_s(1 / draft.control.rate)) / 2:
        draft.report(
            ("safety", "heartbeat_period"),
            f"found {period_s:g}, expected at least half of safety.stall ({stall_s / 2:g} s): the loop is checked "
            f"every {stall_s / 4:g} s, and an edge must not say more than was checked; raise it or leave it out",
        )


def _emulated(draft: Draft, emulated: Emulated, warnings: list[str]) -> None:
    """Whether the emulator can play this robot; its model's path becomes absolute."""
    for number, bus in enumerate(draft.buses):
        if not bus:
            continue
        kind, interface = bus[1].type, getattr(bus[1], "interface", "unix")
        if kind not in ("dynamixel", "damiao"):
            draft.report(
                ("bus", number, "type"), f'found "{kind}", expected "dynamixel" or "damiao" because of [emulated]'
            )
        elif interface not in ("unix", "socketcan"):
            draft.report(
                ("bus", number, "interface"),
                f'found "{interface}", expected "unix" or "socketcan": the emulator of [emulated] speaks no other',
            )
    sensors = {plan.options.name: (number, plan) for number, plan in enumerate(draft.sensors) if plan}
    for name in emulated.sensors:
        if name in sensors:
            number, plan = sensors[name]
            if plan.options.type != "datagram":
                draft.report(
                    ("sensor", number, "type"),
                    f'found "{plan.options.type}", expected "datagram": the emulator feeds no other kind',
                )
        elif None not in draft.sensors:
            draft.report(
                ("emulated", "sensors", name),
                f"found an unknown sensor, expected {one_of(sensors)}; correct it or add the sensor",
            )
    for name in sorted(set(sensors) - set(emulated.sensors)):
        warnings.append(f"the emulator does not feed the sensor {name}: add it to emulated.sensors")
    if None not in draft.buses:
        buses = [bus[1].name for bus in draft.buses if bus]
        for name in emulated.ports.keys() - set(buses):
            problem = f"found an unknown bus, expected {one_of(buses)}; correct it or add the bus"
            draft.report(("emulated", "ports", name), problem)
    if emulated.task and not CLASS_PATTERN.fullmatch(emulated.task):
        draft.report(("emulated", "task"), f'found {found(emulated.task)}, expected "module:Class"; correct it')
    for key in ("estop", "estop_second", "reset", "drive_enable", "drive_feedback", "heartbeat"):
        line = getattr(draft.safety, key, None)
        if isinstance(line, EmulatedLine) and (str(line.path), line.line) != (emulated.gpio, key):
            draft.report(
                ("safety", key),
                f'found line "{line.line}" at {line.path}, expected "{key}" at {emulated.gpio}, where the '
                "emulator has it; correct one of them",
            )
    real = isinstance(getattr(draft.safety, "drive_enable", None), GpioLine)
    if real != (emulated.drive_enable is not None):
        draft.report(
            ("emulated", "drive_enable"),
            "found nothing, expected the file that tells the level of the real line safety.drive_enable; add it"
            if real
            else "found a file, but safety.drive_enable is no real line; remove it or set the line's type to gpio",
        )
    model = draft.existing_file(("emulated", "model"), emulated.model, "a MuJoCo model")
    draft.emulated = emulated.model_copy(update={"model": model})
