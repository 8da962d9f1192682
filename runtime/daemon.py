"""The daemon: the one place where parts are built from a config, started and stopped in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from drivers.bus import Bus
from drivers.sensor import Sensor
from drivers.state import JointState
from runtime import log, version
from runtime.arming.checks import checks
from runtime.arming.model import ModelFile
from runtime.boot import Boot
from runtime.config.config import Config
from runtime.config.workspace import space
from runtime.control.loop import ControlLoop
from runtime.control.modes import Mode
from runtime.control.realtime import Item, Realtime
from runtime.control.ticker import Ticker
from runtime.degraded.degraded import Degraded
from runtime.degraded.health import Health
from runtime.episode_verbs import episode, name_of
from runtime.events import Events, Level
from runtime.lines import Lines, open_lines
from runtime.link.errors import Refused
from runtime.link.peers import Peer, Role
from runtime.link.server import ControlServer, Handler, number
from runtime.notify import Notifier, watchdog_period_s
from runtime.policy.build import planner
from runtime.policy.errors import PolicyError
from runtime.policy.policy import Policy
from runtime.recording.episodes import Episodes
from runtime.recording.facts import facts
from runtime.recording.keeping import KeepRules
from runtime.recording.recorder import Recorder
from runtime.recording.ring import TraceRing
from runtime.recording.trace import TraceLayout
from runtime.reload import Reload
from runtime.reset_button import ResetButton
from runtime.robot import Robot
from runtime.spool.spool import Spool
from runtime.stages.build import commissioning
from runtime.stages.parts import parts
from runtime.status import headline, joints, known_tasks, limits, memory_mb, status
from runtime.watches import build_watches
from safety.beat import Heartbeat
from safety.envelope import Envelope
from safety.gate import Gate
from safety.supervisor import Supervisor
from safety.watchdog import HardwareWatchdog, ServiceWatchdog, Watchdog

_TRACE_S = 4.0
_HOUSEKEEPING_S = 1.0
_DISABLE_S = 2.0
"""Longest time for all motors to confirm that their torque is off, dead ones included."""


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
        self.watchdogs = self._watchdogs()
        lines = open_lines(config.safety)
        self.supervisor = self._supervisor(lines)

        names = [joint.name for joint in config.joints]
        commands = list(config.policy.command) if config.policy else []
        fields = {plan.options.name: plan.options.fields for plan in config.sensors}
        layout = TraceLayout(names, fields, commands)
        self.trace = TraceRing(layout, max(64, round(_TRACE_S * config.control.rate)))
        self.recorder: Recorder | None = None
        if config.recording.enabled:
            self.recorder = Recorder(
                self.trace,
                self.events,
                Path(config.recording.directory),
                config.robot.name,
                self._keep_rules(),
                facts(config),
                self.other_cpus(),
                config.recording.sync,
                config.recording.quality,
            )
        self.spool = Spool(self.events, self._spool_settings()) if config.recording.enabled else None

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
            handlers=self._handlers(),
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
        config = self.config
        self.events.listen(log.log_event)
        asyncio_loop = asyncio.get_running_loop()
        asyncio_loop.set_exception_handler(self._on_defect)
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal_number != signal.SIGHUP or signal.getsignal(signal_number) != signal.SIG_IGN:  # by nohup
                asyncio_loop.add_signal_handler(signal_number, self._stop.set)
        background: list[asyncio.Task[None]] = []
        try:
            self.server.claim()
            # One thread for what may wait for a disk, there before threads are given their scheduling.
            asyncio_loop.set_default_executor(ThreadPoolExecutor(1, "reflexd-slow"))
            await asyncio.to_thread(int)
            if self.recorder is not None:
                self.recorder.start()
            if self.spool is not None:
                self.spool.start()
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
            background += [asyncio.create_task(self._start_policy()), asyncio.create_task(self._keep_house())]
            for item in self.realtime.items:
                level: Level = "info" if item.achieved else "warning"
                self.events.emit("realtime", f"{item.name}: {item.detail}", level=level, achieved=item.achieved)
            self.notifier.ready()
            self.events.emit("daemon.ready", f"{config.robot.name} is ready: {config.socket.path}")
            await self._stop.wait()
        finally:
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
            if self.recorder is not None:
                await self.recorder.close()
            if self.spool is not None:
                await self.spool.close()
            self.realtime.close()
            self.notifier.close()
        if self._defect is not None:
            raise self._defect

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

    def _watchdogs(self) -> list[Watchdog]:
        period_s, hardware = watchdog_period_s(), self.config.safety.watchdog
        watchdogs: list[Watchdog] = [ServiceWatchdog(self.notifier.watchdog, period_s)] if period_s else []
        if hardware:
            watchdogs.append(HardwareWatchdog(hardware.device, hardware.timeout))
        return watchdogs

    def _supervisor(self, lines: Lines) -> Supervisor:
        safety, run = self.config.safety, self.config
        slowest_ramp_s = max(
            joint.velocity_max / joint.acceleration_max + joint.jerk_window for joint in run.joints
        )
        return Supervisor(
            estop=lines.estop,
            drive_enable=lines.drive_enable,
            torque_off=[bus.torque_off for bus in self.buses],
            gate=self.gate,
            beat=self.heartbeat,
            stall_s=run.stall_s,
            tick_s=run.period_s,
            priority=safety.priority,
            on_event=self._on_safety_event,
            watchdogs=self.watchdogs,
            heartbeat_line=lines.heartbeat,
            heartbeat_period_s=run.heartbeat_period_s,
            stop_timeout_s=slowest_ramp_s + _DISABLE_S,
            feedback=lines.drive_feedback,
            feedback_s=safety.drive_feedback_time,
            release_s=safety.estop_release,
            watches=build_watches(run, self.state, self.sensors, lambda: self.loop.command, self.gate),
            slow_speed=safety.slow_speed,
            hold_after_stop=any(joint.after_stop == "hold" for joint in run.joints),
        )

    def _on_safety_event(self, name: str, message: str, level: str, fields: dict[str, Any]) -> None:
        self.events.emit(name, message, cast(Level, level), **fields)

    def _keep_rules(self) -> KeepRules:
        recording = self.config.recording
        trigger = recording.trigger
        return KeepRules(
            mode=recording.mode,
            segment_s=recording.segment_minutes * 60,
            ring_s=recording.ring_seconds,
            after_s=trigger.after,
            window_s=trigger.window,
            limits=trigger.limits,
            uncertainty=trigger.uncertainty,
        )

    def _spool_settings(self) -> dict[str, Any]:
        spool = self.config.spool
        return {
            "directory": str(self.config.recording.directory),
            "size_max": round(spool.size_max * 1e9),
            "free_min": round(spool.free_min * 1e9),
            "cpus": self.other_cpus(),
            "robot": self.config.robot.name,
            "upload": self.config.upload.model_dump(mode="json") if self.config.upload is not None else None,
        }

    def other_cpus(self) -> tuple[int, ...]:
        """A child inherits the control thread's CPUs unless told otherwise; give it all the others."""
        own = set(self.config.realtime.cpus)
        return tuple(sorted(os.sched_getaffinity(0) - own)) if own else ()

    def _handlers(self) -> Mapping[str, Handler]:
        robot = self.robot

        def plain(call: Any) -> Any:
            return lambda args: call()

        def operates(call: Callable[[dict[str, Any]], Any]) -> Handler:
            """A verb by which a person operates the robot: who that was counts when a stage is signed off."""

            def note(args: dict[str, Any], peer: Peer) -> Any:
                if self.commissioning is not None:
                    self.commissioning.operated(peer.uid)
                return call(args)

            return Handler(note, Role.OPERATOR, tell_peer=True)

        return {
            "joints": Handler(lambda args: joints(self), Role.OBSERVER),
            "limits": Handler(lambda args: limits(self), Role.OBSERVER),
            "histograms": Handler(lambda args: self._histograms(), Role.OBSERVER),
            "clear_histograms": Handler(lambda args: self._clear_histograms(), Role.OPERATOR),
            "preflight": operates(plain(robot.preflight)),
            "promote": Handler(self._promote, Role.OPERATOR, tell_peer=True),
            "arm": operates(plain(robot.arm)),
            "start": operates(plain(robot.start)),
            "stop": Handler(lambda args: robot.stop(_flag(args, "failed")), Role.OPERATOR),
            "disarm": Handler(lambda args: self._disarm(), Role.OPERATOR),
            "reset": Handler(lambda args: robot.reset(_flag(args, "healthy")), Role.OPERATOR),
            "reload": Handler(plain(self.reload), Role.OPERATOR),
            "estop": Handler(lambda args: robot.estop("an operator"), Role.OBSERVER),
            "spool": Handler(lambda args: self._spool_status(), Role.OBSERVER),
            "spool_keep": Handler(
                lambda args: self._spool().request("keep", segment=_text(args, "segment")), Role.OPERATOR
            ),
            "spool_upload": Handler(lambda args: self._spool().request("send_now"), Role.OPERATOR),
            "episode": Handler(partial(episode, self), Role.OPERATOR, tell_peer=True),
            "command": operates(lambda args: robot.command(_numbers(args, "values"))),
            "tasks": Handler(lambda args: known_tasks(self), Role.OBSERVER),
            "task": operates(self._change_task),
            "move": Handler(self._move, Role.OPERATOR, tell_peer=True),
        }

    async def _disarm(self) -> None:
        await self.robot.disarm()
        self.episodes.cut_off("the robot was disarmed")

    async def _move(self, args: dict[str, Any], peer: Peer) -> None:
        if self.commissioning is not None:
            self.commissioning.operated(peer.uid)
        joints = _numbers(args, "joints")
        self.episodes.mover = await name_of(peer)
        self.robot.move(joints)

    def _change_task(self, args: dict[str, Any]) -> dict[str, Any]:
        name, prompt = args.get("name"), args.get("prompt")
        if isinstance(name, str) and prompt is None:
            self.robot.task(name=name)
        elif isinstance(prompt, str) and name is None:
            self.robot.task(prompt=prompt)
        else:
            raise Refused("bad_request", "found no single text, expected either name or prompt, which is a text")
        return known_tasks(self)

    def _spool(self) -> Spool:
        if self.spool is None:
            raise Refused("spool", "there is no spool: recording.enabled is false")
        return self.spool

    def _spool_status(self) -> dict[str, Any]:
        if (told := self._spool().status) is None:
            raise Refused("spool", "the spool has not been looked at yet; the events tell when that fails")
        return told

    async def _promote(self, args: dict[str, Any], peer: Peer) -> dict[str, Any]:
        by = args.get("by")
        if not isinstance(by, str):
            raise Refused("bad_request", f"by: found {by!r:.80}, expected the name of the person who signs")
        if self.commissioning is None:
            raise Refused("stage", "this robot has no stages: its config has no [safety.stages]")
        return await self.commissioning.promote(by, peer.uid)

    def _clear_histograms(self) -> None:
        self.ticker.ticks.lateness.clear()
        self.loop.cost.clear()

    def _histograms(self) -> dict[str, Any]:
        return {"lateness_us": self.ticker.ticks.lateness.summary_us(), "cost_us": self.loop.cost.summary_us()}


def _text(args: Mapping[str, Any], key: str) -> str:
    """The argument `key`, a text that fits into a file's name. Raises Refused."""
    value = args.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 200 or "/" in value:
        raise Refused("bad_request", f"{key}: found {value!r:.80}, expected the name of a segment")
    return value


def _flag(args: Mapping[str, Any], key: str) -> bool:
    """The argument `key`: true or false, false when it is left out. Raises Refused."""
    value = args.get(key, False)
    if not isinstance(value, bool):
        raise Refused("bad_request", f"{key}: found {value!r:.80}, expected true or false")
    return value


def _numbers(args: Mapping[str, Any], key: str) -> dict[str, float]:
    """The argument `key`: a map of finite numbers by name. Raises Refused."""
    values = args.get(key)
    if not isinstance(values, dict) or not values:
        raise Refused("bad_request", f"{key}: found {values!r}, expected a map of names to numbers")
    return {str(name): number(values, name, 0.0) for name in values}
