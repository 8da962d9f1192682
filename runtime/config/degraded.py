"""The models of `[degraded]`: what the robot does when something that it works with has failed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drivers.joint import Name, Options

Reaction = Literal["hold", "stop", "home", "retreat"]


class LostSensor(Options):
    """A sensor is silent for longer than its `max_age` while the policy runs. What is left out holds for every
    sensor that has no table of its own."""

    grace: float = Field(default=0.5, ge=0, le=60)
    """So long after its `max_age` the policy goes on with its last reading, s."""
    reaction: Reaction = "home"
    """What follows. `hold`: the policy is not asked, and the robot holds when its plan has run out, until the
    sensor is back; then the run goes on. The others end the run: `stop`, a ramp, then torque off; `home`, a stop,
    then slowly to `degraded.home`; `retreat`, see there. Without a `degraded.home`, `home` is `hold`."""


class LostCamera(Options):
    """A camera through which every policy sees shows nothing that can be believed for longer than its `max_age`
    while the policy runs: it is not asked meanwhile. What is left out holds for every camera that has no table of
    its own."""

    grace: float = Field(default=1.0, ge=0, le=60)
    """So long after its `max_age` the robot goes on with the plan that it has, and holds after that, s."""
    reaction: Reaction = "home"
    """What follows, as for a lost sensor."""


class Starved(Options):
    """The policy's plan has run out: inference is too slow, or its worker is gone."""

    grace: float = Field(default=5.0, ge=0, le=600)
    """So long the robot holds and waits for the plan to go on before it does anything else, s."""
    reaction: Reaction = "hold"
    """What follows, as for a lost sensor. `hold`: it waits on, and the run goes on with the plan."""


class GripStall(Options):
    """A gripper presses on something that does not give: `[safety.monitor.grip_stall]` says so by its `warn`."""

    reaction: Literal["stop", "home", "retreat"] = "retreat"
    """What the robot does, as for a lost sensor."""


class Degraded(Options):
    """What the robot does when something that it works with has failed, and nobody is in danger: that is what
    [safety] is for, and it goes before all of this. See docs/safety.md."""

    sensor: dict[Name, LostSensor] = Field(default_factory=dict)
    """Sensors, by name."""
    camera: dict[Name, LostCamera] = Field(default_factory=dict)
    """Cameras, by name."""
    starved: Starved = Field(default_factory=Starved)
    """The plan has run out."""
    grip_stall: GripStall = Field(default_factory=GripStall)
    """A stalled gripper."""
    failed_attempts: int = Field(default=3, ge=0)
    """After more failed attempts in a row than this, the policy cannot be started until a person resets."""
    joint_faults: int = Field(default=5, ge=0)
    """After more stops because of joints' faults within an hour than this, the robot cannot be armed until
    `reflexctl reset --healthy`."""
    home: dict[Name, float] = Field(default_factory=dict)
    """Where every joint is at home, rad, by joint. Left out: the robot has no home."""
    open: dict[Name, float] = Field(default_factory=dict)
    """Where a gripper has let go, rad, by joint: a `retreat` begins with it."""
    retreat: float = Field(default=1.0, gt=0, le=5)
    """How much of the way that it came a `retreat` goes back, s."""
    speed: float = Field(default=0.1, gt=0, le=1)
    """Part of its `velocity_max` that a joint uses at most on the way home or back."""

    def lost(self, sensor: str) -> LostSensor:
        """What holds for a sensor, by its name."""
        return self.sensor.get(sensor, LostSensor())

    def lost_camera(self, camera: str) -> LostCamera:
        """What holds for a camera, by its name."""
        return self.camera.get(camera, LostCamera())
