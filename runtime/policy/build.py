"""The planner of a daemon, with its policy and the fallback, as the config wants them."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, cast

from runtime.config.models import Inference
from runtime.control.seams.seam import Seam
from runtime.control.seams.strategy import strategy
from runtime.policy.chunk import Chunk
from runtime.policy.client import PolicyWorker
from runtime.policy.commands import Commands
from runtime.policy.handover import Handover
from runtime.policy.inline import InlinePolicy
from runtime.policy.planner import Planner
from runtime.policy.policy import Policy
from runtime.policy.scheduler import Scheduler
from runtime.policy.source import Source
from runtime.policy.spec import WorkerSpec
from runtime.policy.tasks import Task, Tasks
from runtime.policy.terms import ActionMap, ObservationBuilder
from runtime.reload import ranges, schedule

if TYPE_CHECKING:
    from runtime.daemon import Daemon


def planner(daemon: Daemon) -> Planner | None:
    """None when the config has no policy."""
    config = daemon.config.policy
    if config is None:
        return None
    commands = Commands(ranges(config), schedule(config))
    tasks = Tasks(config.tasks, config.first_task, config.any_prompt)
    source = _source(daemon, "policy", config, commands, tasks, config.inline)
    fallback = None
    if (second := config.fallback) is not None:
        between_s = config.interval / config.rate + config.timeout
        after_ns = round(second.after * 1e9) if second.after is not None else None
        fallback = (
            _source(daemon, "fallback policy", second, commands, tasks),
            Handover(after_ns, round(second.stable * 1e9), round(between_s * 1e9)),
            strategy("blend", second.seam_time),
        )
    on_laid = partial(_record, daemon) if daemon.recorder else None
    return Planner(source, commands, daemon.events, on_laid, fallback=fallback)


def _source(
    daemon: Daemon, name: str, config: Inference, commands: Commands, tasks: Tasks, inline: bool = False
) -> Source:
    names = [joint.name for joint in daemon.config.joints]
    actions = ActionMap(config.action, names, config.between)
    observation = ObservationBuilder(
        config.observation, names, daemon.sensors, commands.names, actions.size, tasks
    )
    spec = WorkerSpec(
        backend=config.backend,
        model=str(config.model or ""),
        observation_size=observation.size,
        horizon=config.horizon,
        action_size=actions.size,
        curve=actions.curve.settings,
        period_s=1 / config.rate,
        options=config.options,
        threads=config.threads,
        cpus=config.cpus or daemon.other_cpus(),
        latency_s=config.latency,
        timeout_s=config.timeout,
        max_age_s=config.timeout,
        paths=(str(daemon.config.path.absolute().parent),),
        python=config.python or sys.executable,
    )

    def on_chunk(chunk: Chunk) -> None:
        assert daemon.planner is not None
        daemon.planner.lay(chunk, source)

    policy = cast(
        Policy,
        InlinePolicy(spec, daemon.events, on_chunk)
        if inline
        else PolicyWorker(spec, daemon.events, on_chunk, lambda work: daemon.ticker.between_ticks(work)),
    )
    source = Source(
        name,
        policy,
        observation,
        actions,
        [
            (sensor, plan.options.max_age + daemon.config.degraded.lost(plan.options.name).grace)
            for sensor, plan in zip(daemon.sensors, daemon.config.sensors, strict=True)
        ],
        Scheduler(config.horizon, config.interval, round(1e9 / config.rate)),
        strategy("replace" if inline else config.seam, config.seam_time, config.seam_decay),
        daemon.events,
        observe=config.observe,
    )
    tasks.follow(policy.set_task)
    return source


def _record(daemon: Daemon, chunk: Chunk, arrived_ns: int, seam: Seam, task: Task) -> None:
    # A chunk comes just when a tick is due: that goes first.
    assert daemon.recorder is not None
    daemon.ticker.after_tick(partial(daemon.recorder.add_chunk, chunk, arrived_ns, seam, task))
