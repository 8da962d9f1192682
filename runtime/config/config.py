"""A robot, checked: what `load` gives and everything else is built from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drivers.joint import Joint
from runtime.config.degraded import Degraded
from runtime.config.draft import BusPlan, Draft, SensorPlan
from runtime.config.models import (
    Control,
    Emulated,
    Inference,
    Policy,
    Realtime,
    Recording,
    Robot,
    Safety,
    Socket,
    Spool,
)
from runtime.config.paths import Places
from runtime.config.upload import Upload


@dataclass(frozen=True, slots=True)
class Config:
    """All names resolve, all files exist, all buses carry the rate; paths are absolute."""

    path: Path
    places: Places
    robot: Robot
    control: Control
    realtime: Realtime
    safety: Safety
    degraded: Degraded
    buses: tuple[BusPlan, ...]
    joints: tuple[Joint, ...]
    """In the robot's order, which is the order of all arrays."""
    sensors: tuple[SensorPlan, ...]
    policy: Policy | None
    recording: Recording
    spool: Spool
    upload: Upload | None
    socket: Socket
    emulated: Emulated | None
    warnings: tuple[str, ...]
    """What is allowed and yet should be known, one sentence each."""

    @property
    def policies(self) -> dict[str, Inference]:
        """The policy and its fallback, by what their models are called: `model`, `fallback model`."""
        if self.policy is None:
            return {}
        fallback = self.policy.fallback
        return {"model": self.policy, **({"fallback model": fallback} if fallback is not None else {})}

    @property
    def period_s(self) -> float:
        """Time between two ticks, s."""
        return 1.0 / self.control.rate

    @property
    def stall_s(self) -> float:
        """Without a beat for this long the safety task stops the robot, s."""
        return self.safety.stall_s(self.period_s)

    @property
    def heartbeat_period_s(self) -> float:
        """Full period of the heartbeat line's wave, s."""
        given = self.safety.heartbeat_period
        return given if given is not None else max(self.stall_s, 0.02)

    @classmethod
    def of(cls, draft: Draft, places: Places, warnings: list[str]) -> Config:
        """The config of a draft that has no mistakes."""
        assert draft.robot
        assert draft.control
        assert draft.realtime
        assert draft.safety
        assert draft.degraded
        assert draft.recording
        assert draft.spool
        assert draft.socket
        return cls(
            draft.path,
            places,
            draft.robot,
            draft.control,
            draft.realtime,
            draft.safety,
            draft.degraded,
            tuple(draft.plans),
            tuple(joint for joint in draft.joints if joint),
            tuple(sensor for sensor in draft.sensors if sensor),
            draft.policy,
            draft.recording,
            draft.spool,
            draft.upload,
            draft.socket,
            draft.emulated,
            tuple(warnings),
        )
