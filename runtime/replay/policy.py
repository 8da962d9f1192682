"""Recorded observations to a policy: how long it takes, how its actions differ, which limits they would meet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from drivers.state import Floats
from runtime.config.config import Config
from runtime.control.timeline import Timeline
from runtime.events import Event, Events
from runtime.policy.build import planner
from runtime.policy.chunk import Chunk
from runtime.policy.errors import PolicyError
from runtime.policy.source import Source
from runtime.policy.tasks import TaskError, Tasks
from runtime.recording.reader import RecordedChunk, Recording, Records
from runtime.replay.cameras import ShownCamera, shown
from runtime.replay.errors import ReplayError
from runtime.replay.plan import Laid, follow, lay, track
from runtime.replay.runs import Robot, Run, limit_ticks, moments

if TYPE_CHECKING:
    from runtime.daemon import Daemon

_LOOK_S = 0.001
_SAME_RAD = 1e-6
"""So close the plan that the recorded chunks make comes to the recorded one, as long as nothing is missing."""


class _Stage:
    """What `runtime.policy.build` asks of a daemon: the policy is built and run as there, by the same code."""

    def __init__(self, config: Config, robot: Robot, cameras: Mapping[str, ShownCamera]) -> None:
        self.config = config
        self.sensors = robot.sensors
        self.events = Events()
        self.recorder = None
        self.cameras = cameras
        self.ticker = self.planner = self
        self.answers: asyncio.Queue[Chunk | str] = asyncio.Queue()
        self.events.listen(self._hear)

    def other_cpus(self) -> tuple[int, ...]:
        return ()

    def between_ticks(self, work: Any) -> None:
        work()

    def lay(self, chunk: Chunk, source: Source) -> None:
        self.answers.put_nowait(chunk)

    def _hear(self, event: Event) -> None:
        if event.level != "info":
            self.answers.put_nowait(event.message)


async def replay(
    config: Config, ticks: Records, found: Sequence[Run], recordings: Sequence[Recording]
) -> dict[str, Any]:
    """Ask the policy of `config` for every chunk of the runs again. Returns the figures of `reflexd replay`.

    Raises ReplayError when the policy cannot be had.
    """
    if config.policy is None:
        raise ReplayError(f"{config.path.name}: found no [policy], expected one; give a config with --config")
    robot = Robot(config, ticks)
    cameras = shown(config, recordings)
    stage = _Stage(config, robot, cameras)
    plan = planner(cast("Daemon", stage))
    assert plan is not None
    try:
        await plan.policy.start()
        if not plan.policy.ready:
            raise ReplayError(f"the policy is not there: {await stage.answers.get()}")
        if problem := plan.source.problem:
            raise ReplayError(problem)
        asked = [await _Replay(config, robot, stage, run, plan.sources).ask() for run in found]
    except PolicyError as error:
        raise ReplayError(str(error)) from error
    finally:
        for source in plan.sources:
            await source.policy.close()
        for camera in cameras.values():
            camera.close()
    remarks = [
        f"{camera.missing} frames of camera {name} that were seen are not recorded: earlier ones were shown"
        for name, camera in cameras.items()
        if camera.missing
    ]
    figures = _figures(config, asked)
    return {**figures, "remarks": [*figures["remarks"], *remarks]}


class _Replay:
    """One run, asked again."""

    def __init__(self, config: Config, robot: Robot, stage: _Stage, run: Run, sources: Sequence[Source]) -> None:
        self.run = run
        self.remarks: list[str] = []
        self.latencies: list[float] = []
        """Of every answer, s."""
        self.differences: list[Floats] = []
        """From the recorded goals to the policy's, rad, each of shape (H, joints)."""
        self._config = config
        self._robot = robot
        self._stage = stage
        self._sources = {source.name: source for source in sources}
        self._policy = sources[0]
        self.plans: tuple[Floats, Any] = (np.empty(0), np.empty(0))
        self.rebuilt = 0.0

    async def ask(self) -> _Replay:
        """Ask for every chunk of the policy, at its moment, with the plan that was in force then."""
        run = self.run
        timeline = Timeline()
        for source in self._sources.values():
            source.hold = run.command.copy()
        old: list[Laid] = []
        new: list[Laid] = []
        for recorded, asked_ns in moments(run):
            source = self._sources.get(recorded.about["by"], self._policy)
            if recorded.actions.shape != source.policy.plan.shape:
                raise ReplayError(
                    f"found recorded chunks of shape {list(recorded.actions.shape)}, expected "
                    f"{list(source.policy.plan.shape)} (policy.horizon, values in an action) as in the config"
                )
            laid = track(timeline, source, recorded, recorded.actions)
            mine = track(timeline, source, recorded, recorded.actions)
            if source is self._policy:
                if not run.begins and not old:
                    self._remark("the first chunk of a run that began before the recording is not asked for again")
                elif (actions := await self._answer(recorded, asked_ns, timeline)) is not None:
                    mine = track(timeline, source, recorded, actions)
                    self.differences.append(mine.track.goals - laid.track.goals)
                source.answered(Chunk(0, recorded.actions, round(recorded.about["latency_s"] * 1e9), 0))
            if run.begins or old:
                new.append(mine)
            old.append(laid)
            # The plan that the next request sees is the recorded one: a mistake of this answer is not its fault.
            assert self._config.policy is not None
            lay(timeline, track(timeline, source, recorded, recorded.actions), self._config.policy)
        self._limits(old, new)
        return self

    async def _answer(self, recorded: RecordedChunk, asked_ns: int, timeline: Timeline) -> Floats | None:
        policy = self._policy.policy
        self._robot.at(asked_ns)
        seen = recorded.about.get("cameras", {})
        for name, camera in self._stage.cameras.items():
            camera.show(asked_ns, seen[name]["mono_ns"] if name in seen else None)
        self._set_task(self._policy.tasks, recorded.about)
        while not self._stage.answers.empty():
            self._stage.answers.get_nowait()
        self._policy.begin(asked_ns)  # so that each observation that is not complete is told
        self._policy.ask(asked_ns, self._robot.state, self._robot.commands, timeline)
        if not policy.busy and self._stage.answers.empty():
            raise ReplayError("the policy cannot be asked any more: it is not ready")
        # Of a second answer in a row that there is none, nothing is told.
        while policy.busy and self._stage.answers.empty():
            await asyncio.sleep(_LOOK_S)
        answer = "the policy has no answer" if self._stage.answers.empty() else self._stage.answers.get_nowait()
        if isinstance(answer, str):
            self._remark(answer)
            return None
        self.latencies.append(answer.latency_ns / 1e9)
        return answer.actions

    def _set_task(self, tasks: Tasks, about: dict[str, Any]) -> None:
        try:
            if about["task"]:
                tasks.choose(about["task"])
            elif about["prompt"]:
                tasks.say(about["prompt"])
        except TaskError as error:
            self._remark(f"a recorded task cannot be set: {error}")

    def _limits(self, old: list[Laid], new: list[Laid]) -> None:
        again, _ = follow(self._config, self.run, self._robot, old)
        self.plans = follow(self._config, self.run, self._robot, new)
        seen = self.run.ticks["mono_ns"] >= old[0].at_ns
        off = np.abs(again - self.run.ticks["joints"]["plan"])[seen]
        self.rebuilt = float(off.max()) if self.run.begins and len(off) else 0.0
        if self.rebuilt > _SAME_RAD:
            self._remark(
                f"the plan that the recorded chunks make is up to {self.rebuilt:.3g} rad off the recorded one: "
                "the config is not the one that ran (--set?), or chunks are missing; limits are off too"
            )

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)


def _figures(config: Config, asked: Sequence[_Replay]) -> dict[str, Any]:
    names = [joint.name for joint in config.joints]
    limits = [each.run.ticks["joints"]["limits"] for each in asked]
    chunks = [chunk for each in asked for chunk in each.run.chunks]
    by_policy = [chunk for chunk in chunks if chunk.about["by"] == "policy"]
    differences = [goals for each in asked for goals in each.differences]
    off = np.concatenate(differences) if differences else np.zeros((0, len(names)))
    assert config.policy is not None
    return {
        "backend": config.policy.backend,
        "runs": len(asked),
        "chunks": len(by_policy),
        "answers": len(differences),
        "latency_ms": _spread([latency for each in asked for latency in each.latencies]),
        "recorded_latency_ms": _spread([chunk.about["latency_s"] for chunk in by_policy]),
        "difference_rad": difference(off, names),
        "limit_ticks": limit_ticks(np.concatenate([each.plans[1] for each in asked])),
        "recorded_limit_ticks": limit_ticks(np.concatenate(limits)),
        "ticks": sum(len(each.run.ticks) for each in asked),
        "plan_rebuilt_max_rad": max(each.rebuilt for each in asked),
        "remarks": list(dict.fromkeys(remark for each in asked for remark in each.remarks)),
    }


def difference(off: Floats, names: Sequence[str]) -> dict[str, Any]:
    """Root mean square and largest of differences (rad, shape (n, joints)), of all joints and of each."""

    def figures(values: Floats) -> dict[str, float]:
        if not values.size:
            return {"rms": 0.0, "max": 0.0}
        return {"rms": round(float(np.sqrt((values**2).mean())), 6), "max": round(float(np.abs(values).max()), 6)}

    return {**figures(off), "joints": {name: figures(off[:, number]) for number, name in enumerate(names)}}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Of latencies, in ms."""
    if not seconds:
        return {}
    p50, p99 = np.quantile(seconds, (0.5, 0.99)).tolist()
    return {"p50": round(p50 * 1e3, 3), "p99": round(p99 * 1e3, 3), "max": round(max(seconds) * 1e3, 3)}
