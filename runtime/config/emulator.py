"""What the emulator's process is told about the robot that it plays."""

from __future__ import annotations

from typing import Any

from drivers.joint import Joint
from runtime.config.config import Config
from runtime.config.draft import BusPlan, SensorPlan
from runtime.config.models import Emulated


def emulator_spec(config: Config) -> dict[str, Any]:
    """The JSON document for `python -m drivers.emulated`. Raises ValueError without an `[emulated]` section."""
    emulated = config.emulated
    if emulated is None:
        raise ValueError(f"{config.path} has no [emulated] section, expected one with the model of the robot")
    plan_of = {plan.options.name: plan for plan in config.buses}
    return {
        "model": str(emulated.model),
        "task": emulated.task,
        "timestep": emulated.timestep,
        "seed": emulated.seed,
        "joints": [_joint(joint, plan_of[joint.bus]) for joint in config.joints],
        "buses": [_bus(plan, emulated.ports.get(plan.options.name)) for plan in config.buses],
        "sensors": [_sensor(plan, emulated) for plan in config.sensors if plan.options.name in emulated.sensors],
        "gpio": emulated.gpio,
        "drive_enable": config.safety.drive_enable is not None,
        "drive_enable_file": None if emulated.drive_enable is None else str(emulated.drive_enable),
        "control": emulated.control,
        "avoid_cpus": list(config.realtime.cpus),
        "priority": emulated.priority or None,
    }


def _joint(joint: Joint, plan: BusPlan) -> dict[str, Any]:
    spec = joint.model_dump(include={"name", "bus", "id", "model", "sign", "offset", "reduction"})
    if plan.options.type == "damiao":
        spec["reply_id"] = joint.id + plan.options.model_dump()["reply_offset"]
    return spec


def _bus(plan: BusPlan, real: str | None) -> dict[str, Any]:
    """`real`: where the other end of its cable is plugged in, when there is one."""
    if plan.options.type == "dynamixel":
        spec = plan.options.model_dump(mode="json", include={"name", "type", "port", "baud"})
        return spec if real is None else {**spec, "port": real, "cable": True}
    spec = plan.options.model_dump(mode="json", include={"name", "type", "interface", "channel"})
    return spec if real is None else {**spec, "interface": "socketcan", "channel": real}


def _sensor(plan: SensorPlan, emulated: Emulated) -> dict[str, Any]:
    spec = plan.options.model_dump(mode="json", include={"name", "path", "fields"})
    return {**spec, "rate": emulated.sensors[plan.options.name]}
