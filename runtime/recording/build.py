"""The recording of a daemon, as its config wants it: the cameras' streams, the recorder, and the spool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.recording.contract import KeepRules
from runtime.recording.facts import facts
from runtime.recording.recorder import Recorder
from runtime.recording.video.stream import VideoStream
from runtime.spool.spool import Spool

if TYPE_CHECKING:
    from runtime.daemon import Daemon


def videos(daemon: Daemon) -> dict[str, VideoStream]:
    """The cameras that are recorded, by their names. Raises OSError without memory."""
    recording = daemon.config.recording
    return {
        name: VideoStream(camera, recording.video.of(name), daemon.events, daemon.other_cpus())
        for name, camera in daemon.cameras.items()
        if recording.enabled and recording.video.of(name).enabled
    }


def recorder(daemon: Daemon) -> Recorder | None:
    """None when nothing is recorded."""
    config = daemon.config
    recording, trigger = config.recording, config.recording.trigger
    if not recording.enabled:
        return None
    rules = KeepRules(
        mode=recording.mode,
        segment_s=recording.segment_minutes * 60,
        ring_s=recording.ring_seconds,
        after_s=trigger.after,
        window_s=trigger.window,
        limits=trigger.limits,
        uncertainty=trigger.uncertainty,
    )
    return Recorder(
        daemon.trace,
        daemon.events,
        Path(recording.directory),
        config.robot.name,
        rules,
        facts(config),
        daemon.other_cpus(),
        recording.sync,
        recording.quality,
        daemon.videos,
    )


def spool(daemon: Daemon) -> Spool | None:
    """None when nothing is recorded."""
    config = daemon.config
    if not config.recording.enabled:
        return None
    settings = {
        "directory": str(config.recording.directory),
        "size_max": round(config.spool.size_max * 1e9),
        "free_min": round(config.spool.free_min * 1e9),
        "cpus": daemon.other_cpus(),
        "robot": config.robot.name,
        "upload": config.upload.model_dump(mode="json") if config.upload is not None else None,
    }
    return Spool(daemon.events, settings)
