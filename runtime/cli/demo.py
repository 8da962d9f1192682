"""`reflexd demo`: the real daemon against the emulated robot, watched live, with a report at the end."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from runtime.cli import report
from runtime.cli.emulate import NO_SIM
from runtime.cli.judges import Judge, judge
from runtime.cli.overrides import parse_overrides
from runtime.cli.processes import DaemonProcess, Emulator, ProcessError
from runtime.config.config import Config
from runtime.config.errors import ConfigError
from runtime.config.load import load
from runtime.link.errors import LinkError
from runtime.spool.layout import find

_VIEW_S = 0.1
_VIEW_PLAIN_S = 5.0


def demo(args: argparse.Namespace) -> int:
    """Run the demonstration. Returns 0 when the task succeeded; with `--inline`, when the run came to its end."""
    try:
        import mujoco  # noqa: F401  (asked before anything starts, so that the advice comes first)
    except ModuleNotFoundError:
        print(NO_SIM, file=sys.stderr)
        return 1
    folder = Path(args.run_dir or tempfile.mkdtemp(prefix="reflexd-demo-"))
    try:
        result = _run(args, folder)
    except (ConfigError, ProcessError, LinkError) as error:
        print(f"reflexd demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the robot is disarmed", file=sys.stderr)
        return 130
    finally:
        if args.run_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if args.inline or result["task"]["success"] else 1


def _settings(args: argparse.Namespace, config: Config) -> list[str]:
    """What this run changes in the config, as `--set` takes it."""
    pairs = list(args.set)
    if args.latency is not None:
        pairs.append(f"policy.latency={args.latency}")
    if args.seed is not None:
        pairs.append(f"emulated.seed={args.seed}")
    if args.inline:
        assert config.policy is not None
        # A tick that waits for the inference would be stopped by the safety task and by the motors' own
        # watchdogs, as it should be; both have to be told to look away to show what happens then.
        latency = args.latency if args.latency is not None else config.policy.latency
        patience = round(min(2 * latency + 0.6, 2.4), 1)
        pairs += ["policy.inline=true", f"safety.stall={patience}"]
        # A synchronous loop asks again when its chunk is used up.
        pairs.append(f"policy.execute={config.policy.horizon}")
        pairs += [f"bus.{plan.options.name}.watchdog={patience}" for plan in config.buses]
    return pairs


def _run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    config = load(args.config, run_dir=folder, overrides=parse_overrides(args.set))
    settings = _settings(args, config)
    config = load(args.config, run_dir=folder, overrides=parse_overrides(settings))
    if config.emulated is None or config.policy is None:
        raise ProcessError(f"{config.path}: a demonstration needs the sections [emulated] and [policy]")
    with Emulator(config) as emulator, DaemonProcess(config, settings) as daemon:
        daemon.wait_policy()
        daemon.wait_cameras()
        ready = daemon.request("status")
        daemon.request("arm")
        daemon.request("start")
        umpire = judge(emulator, config)
        _watch(daemon, umpire, _View(args, config))
        status = daemon.request("status")
        daemon.request("disarm")
        result = {
            "robot": config.robot.name,
            "inline": config.policy.inline,
            "latency_s": config.policy.latency,
            "task": umpire.result(),
            "status": status,
            "memory_mb": ready["memory_mb"],
        }
        if args.view:
            emulator.ask("trajectory", path=str(folder / "trajectory.npz"))
    if status["recording"]:
        status["recording"]["path"] = str(find(Path(status["recording"]["path"])))  # whole by now, it has moved
    store = config.places.state / "demo"
    other = report.exchange(store, result)
    if args.json:
        print(json.dumps(result))
    else:
        print(report.text(result, other))
        print(f"recording: {status['recording']['path']}" if status["recording"] else "not recorded")
    if args.view:
        from drivers.emulated.render import render

        render(Path(config.emulated.model), folder / "trajectory.npz", args.view)
        print(f"scene: {args.view}")
    return result


def _watch(daemon: DaemonProcess, umpire: Judge, view: _View) -> None:
    deadline = time.monotonic() + umpire.timeout_s
    while not umpire.done() and time.monotonic() < deadline:
        status = daemon.request("status")
        if status["mode"] in ("ESTOP", "FAULT", "HELD"):
            view.close()
            raise ProcessError(f"the robot stopped: {status['mode']}: {status['stop']}\n{daemon.log_tail()}")
        view.show(status, daemon, umpire)
        time.sleep(_VIEW_S)
    view.close()


class _View:
    """The live view: refreshed in place on a terminal, a line now and then elsewhere."""

    def __init__(self, args: argparse.Namespace, config: Config) -> None:
        self._quiet = args.json
        self._live = sys.stdout.isatty()
        self._title = f"{config.robot.name}, {report.kind(config.policy.inline if config.policy else False)}"
        self._lines = 0
        self._next_s = 0.0

    def show(self, status: dict[str, Any], daemon: DaemonProcess, umpire: Judge) -> None:
        """Show the state now."""
        if self._quiet or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + (0.0 if self._live else _VIEW_PLAIN_S)
        lateness = status["lateness_us"]
        lines = [
            f"{self._title}   {status['mode']:<9} {status['rate_measured_hz']:.1f} Hz   "
            f"late p50 {lateness['p50']:.0f} p99 {lateness['p99']:.0f} us   "
            f"plan ahead {status['plan_ahead_s']:.2f} s   starved {status['starved_ticks']}   {umpire.line()}"
        ]
        if self._live:
            joints = daemon.request("joints")
            lines += [
                f"  {j['name']:<14}{j['position'] or 0:8.3f} rad  goal {j['goal'] or 0:8.3f}  {_bar(j)}"
                for j in joints
            ]
            sys.stdout.write(f"\x1b[{self._lines}F\x1b[J" if self._lines else "")
            self._lines = len(lines)
        print("\n".join(lines), flush=True)

    def close(self) -> None:
        """End the view."""
        self._lines = 0


def _bar(joint: dict[str, Any], width: int = 31) -> str:
    place = round((width - 1) * min(max(((joint["position"] or 0.0) + 3.2) / 6.4, 0.0), 1.0))
    return "." * place + "#" + "." * (width - 1 - place)
