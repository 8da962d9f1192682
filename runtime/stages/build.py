"""The commissioning of a daemon, and what counts as work at each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.control.modes import Mode
from runtime.stages.commissioning import Commissioning
from runtime.stages.stage import Stage

if TYPE_CHECKING:
    from runtime.daemon import Daemon


def commissioning(daemon: Daemon) -> Commissioning | None:
    """None when the config has no stages: the robot runs at full speed."""
    stages, where = daemon.config.safety.stages, daemon.config.places.state
    if stages is None:
        return None
    return Commissioning(
        stages,
        where / f"stage-{daemon.config.robot.name}.json",  # the folder may be that of several robots
        daemon.events,
        set_limit=daemon.loop.limit,
        works=lambda stage: _works(daemon, stage),
        energised=lambda: daemon.loop.modes.energised,
    )


def _works(daemon: Daemon, stage: Stage) -> bool:
    mode = daemon.loop.modes.mode
    if stage is not Stage.SENSORS:
        return mode in (Mode.AUTO, Mode.MANUAL)
    return mode == Mode.STANDBY and not any(daemon.arming.look_quickly(("joints", "sensors")).values())
