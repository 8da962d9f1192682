"""The daemon: the one place where parts are built from a config, started and stopped in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from drivers.bus import Bus
from drivers.sensor import Sensor
from drivers.state import JointState
from runtime import log, version
from runtime.arming.checks import checks
from runtime.arming.model import ModelFile
from runtime.boot import Boot
from runtime.cameras.camera import Camera, settings_of
from runtime.config.config import Config
from runtime.config.workspace import space
from runtime.control.loop import ControlLoop
from runtime.control.modes import Mode
from runtime.control.realtime import Item, Realtime
from runtime.control.ticker import Ticker
from runtime.degraded.degraded import Degraded
from runtime.degraded.health import Health
from runtime.events import Events, Level
from runtime.lines import open_lines
from runtime.link.server import ControlServer
from runtime.notify import Notifier
from runtime.policy.build import planner
from runtime.policy.errors import PolicyError
from runtime.policy.policy import Policy
from runtime.recording.build import recorder, spool, videos
from runtime.recording.episodes import Episodes
from runtime.recording.ring import TraceRing
from runtime.recording.trace import TraceLayout
from runtime.reload import Reload
from runtime.requests import handlers
from runtime.reset_button import ResetButton
from runtime.robot import Robot
from runtime.safety_task import supervisor, watchdogs
from runtime.stages.build import commissioning
from runtime.stages.parts import parts
from runtime.status import headline, memory_mb, status
from safety.beat import Heartbeat
from safety.envelope import Envelope
from safety.gate import Gate

_TRACE_S = 4.0
_HOUSEKEEPING_S = 1.0


class Daemon:
    """All parts of a running robot. `run` returns after SIGTERM, SIGINT or SIGHUP, with the motors off."""

    def __init__(self, config: Config, read_config: Callable[[], Config]) -> None:
        """`read_config`: reads the same config again, for `reload`."""
        self.config = config
        self.reload = Reload(self, read_config)
        self.events = Events()
        self.realtime = Realtime()
        self.state = JointState(len(config.joints))
        period_ns = round(config.period_s * 1e9)

        self.buses: list[Bus] = []
        for plan in config.buses:
            own = [joint for joint in config.joints if joint.bus == plan.options.name]
            index = np.array([config.joints.index(joint) for joint in own], np.int64)
            self.buses.append(plan.driver(plan.options, own, index, self.state))
        self.sensors: list[Sensor] = [plan.driver(plan.options) for plan in config.sensors]

        self.boot = Boot.read(config.safety.watchdog.device if config.safety.watchdog else None)
        self.gate = Gate()
        self.heartbeat = Heartbeat()
        self.envelope = Envelope(config.joints, config.period_s, self.state, space(config))
        self.notifier = Notifier()
        self.watchdogs = watchdogs(self)
        lines = open_lines(config.safety)
        self.supervisor = supervisor(self, lines)

        names = [joint.name for joint in config.joints]
        commands = list(config.policy.command) if config.policy else []
        fields = {plan.options.name: plan.options.fields for plan in config.sensors}
        layout = TraceLayout(names, fields, commands)
        self.trace = TraceRing(layout, max(64, round(_TRACE_S * config.control.rate)))
        self.cameras = {
            name: Camera(
                name, options, settings_of(name, options, config.emulated), self.events, self.other_cpus()
            )
            for name, options in config.cameras.items()
        }
        self.videos = videos(self)
        """The cameras that are recorded."""
        self.recorder = recorder(self)
        self.spool = spool(self)
        self.episodes = Episodes(
            config.robot.name,
            self.recorder,
            self.events,
            config.recording.episode_minutes * 60,
            marks_alone=config.recording.mode != "episodes",
        )
        self.planner = planner(self)
        self._policy_failed = ""
        self.models: dict[str, ModelFile] = {}
        """The policies' models as they were at the start, where they are files: `model`, `fallback model`."""

        degraded = Degraded(
            config.degraded,
            config.joints,
            [(sensor, plan.options.max_age) for sensor, plan in zip(self.sensors, config.sensors, strict=True)],
            lambda: self.supervisor.flags,
            self.events,
            config.period_s,
            [(camera, camera.options.max_age) for camera in self.seen_cameras(by=all)],
        )
        kept = config.places.state / f"health-{config.robot.name}.json"  # the folder may be that of several robots
        self.health = Health(config.degraded, kept, self.events)
        self.loop = ControlLoop(
            config.joints,
            self.buses,
            self.sensors,
            self.state,
            self.envelope,
            self.gate,
            self.heartbeat,
            self.supervisor.orders,
            self.planner,
            degraded,
            self.health,
            self.trace,
            self.episodes,
            self.events,
            period_ns,
            config.control.missed_limit,
            on_power_off=lambda mode: self.robot.power_off(mode),
            cut_mode=lambda: Mode.ESTOP if self.supervisor.estop_requested else Mode.FAULT,
            set_alarm=lambda at_ns: self.ticker.set_alarm(at_ns),
        )
        self.ticker = Ticker(period_ns, self.loop.tick, self.loop.observe)
        self.commissioning = commissioning(self)
        self.arming = checks(self)
        self.robot = Robot(
            config.joints,
            self.buses,
            self.sensors,
            self.state,
            self.loop,
            self.gate,
            self.supervisor,
            self.planner,
            self.events,
            self.arming,
            self.health,
        )
        self.reset_button = (
            ResetButton(lines.reset, self.robot.reset, self.events) if lines.reset is not None else None
        )
        self.server = ControlServer(
            Path(config.socket.path),
            version=version(),
            status=lambda: status(self),
            events=self.events,
            handlers=handlers(self),
            group=config.socket.group,
            everyone=config.socket.everyone,
            defer=self.ticker.after_tick,
        )
        self._stop = asyncio.Event()
        self._defect: Exception | None = None
        self.memory_mb = memory_mb()
        """Resident memory, MB, measured once a second."""

    async def run(self) -> None:
        """Run until told to stop. Raises what keeps the daemon from starting; nothing moves then."""
        self.events.listen(log.log_event)
        asyncio_loop = asyncio.get_running_loop()
        asyncio_loop.set_exception_handler(self._on_defect)
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal_number != signal.SIGHUP or signal.getsignal(signal_number) != signal.SIG_IGN:  # by nohup
                asyncio_loop.add_signal_handler(signal_number, self._stop.set)
        background: list[asyncio.Task[None]] = []
        try:
            await self._begin()
            background += [asyncio.create_task(self._start_policy()), asyncio.create_task(self._keep_house())]
            await self._stop.wait()
        finally:
            await self._end(background)
        if self._defect is not None:
            raise self._defect

    async def _begin(self) -> None:
        """Start the parts, in order, and say so."""
        config, asyncio_loop = self.config, asyncio.get_running_loop()
        self.server.claim()
        # One thread for what may wait for a disk, there before threads are given their scheduling.
        asyncio_loop.set_default_executor(ThreadPoolExecutor(1, "reflexd-slow"))
        await asyncio.to_thread(int)
        if self.recorder is not None:
            self.recorder.start()
        if self.spool is not None:
            self.spool.start()
        for camera in self.cameras.values():
            camera.start()
        for video in self.videos.values():
            video.start()
        self.boot.tell(self.events, config.places.state)
        for name, inference in config.policies.items():
            if inference.model is not None:
                self.models[name] = await asyncio.to_thread(ModelFile.read, inference.model)
        if self.recorder is not None:
            self.recorder.describe({f"{n.replace(' ', '_')}_sha256": m.sha256 for n, m in self.models.items()})
        if self.commissioning is not None:
            self.commissioning.begin(parts(config, {name: file.sha256 for name, file in self.models.items()}))
        self.health.begin()
        await self.robot.connect()
        self.supervisor.start()
        thread = self.supervisor.scheduling
        self.realtime.items.append(Item("safety thread", thread.achieved, thread.detail))
        self.realtime.apply(
            priority=config.realtime.priority,
            cpus=config.realtime.cpus,
            lock_memory=config.realtime.lock_memory,
            dma_latency=config.realtime.dma_latency,
            switch_interval=config.realtime.switch_interval,
            required=config.realtime.required,
        )
        await self.server.start()
        self.realtime.freeze_memory()  # collects first, which takes longer than a tick may wait
        self.ticker.start()
        if self.reset_button is not None:
            self.reset_button.start()
        for item in self.realtime.items:
            level: Level = "info" if item.achieved else "warning"
            self.events.emit("realtime", f"{item.name}: {item.detail}", level=level, achieved=item.achieved)
        self.notifier.ready()
        self.events.emit("daemon.ready", f"{config.robot.name} is ready: {config.socket.path}")

    async def _end(self, background: list[asyncio.Task[None]]) -> None:
        """Bring the robot to rest and end the parts, as many as have started."""
        self.notifier.stopping()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self.server.close()
        if self.reset_button is not None:
            self.reset_button.close()
        await self.robot.close(clean=self._defect is None)
        self.ticker.stop()
        self.episodes.cut_off("the daemon ends")
        await self.health.keep()
        for policy in self.policies:
            await policy.close()
        await asyncio.gather(*(video.close() for video in self.videos.values()))
        await asyncio.gather(*(camera.close() for camera in self.cameras.values()))
        if self.recorder is not None:
            await self.recorder.close()
        if self.spool is not None:
            await self.spool.close()
        self.realtime.close()
        self.notifier.close()

    def _on_defect(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody expected, in a tick or elsewhere: power off at once, then end."""
        if self._defect is not None:
            return
        self._defect = context.get("exception") or RuntimeError(context["message"])
        text = f"a defect in reflexd: {self._defect!r}: power is cut and the daemon ends"
        self.supervisor.request_stop(0, text)
        self.events.emit("daemon.defect", text, level="error")
        self._stop.set()

    async def _start_policy(self) -> None:
        for policy in self.policies:
            try:
                await policy.start()
            except PolicyError as error:
                self._policy_failed = str(error)
                self._tell_no_policy()
        if not self._policy_failed and self.policy_error:
            self._tell_no_policy()

    def _tell_no_policy(self) -> None:
        self.events.emit("policy.failed", f"there is no policy: {self.policy_error}", level="error")

    @property
    def policy_error(self) -> str:
        """Why there is no policy although one is configured; empty while nothing is wrong with it."""
        problems = [source.problem for source in self.planner.sources] if self.planner is not None else []
        return self._policy_failed or next(filter(None, problems), "")

    @property
    def policies(self) -> list[Policy]:
        """The policy and its fallback, as far as they are there."""
        return [source.policy for source in self.planner.sources] if self.planner is not None else []

    def seen_cameras(self, by: Callable[[Iterable[bool]], bool] = any) -> list[Camera]:
        """Cameras that `any` policy, or `all` of them, see through."""
        views = [{term.camera for term in each.observation} for each in self.config.policies.values()]
        return [camera for name, camera in self.cameras.items() if views and by(name in view for view in views)]

    async def _keep_house(self) -> None:
        """Once a second: tell systemd how it is, and collect the little garbage that there is."""
        keeping: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self.notifier.status(headline(self))
            self.memory_mb = memory_mb()
            if keeping is None or keeping.done():  # a disk may take its time
                keeping = asyncio.create_task(self.health.keep())
            self.episodes.look()
            if self.commissioning is not None:
                self.commissioning.look()
            if self.reset_button is not None:
                self.reset_button.look_after()
            # The youngest generation holds about a second of objects; the old ones wait until nothing moves.
            self.ticker.after_tick(partial(gc.collect, 0 if self.loop.modes.energised else 1))

    def other_cpus(self) -> tuple[int, ...]:
        """A child inherits the control thread's CPUs unless told otherwise; give it all the others."""
        own = set(self.config.realtime.cpus)
        return tuple(sorted(os.sched_getaffinity(0) - own)) if own else ()
