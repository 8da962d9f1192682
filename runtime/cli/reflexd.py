"""`reflexd`: run a robot, check its config, play its hardware, or show a demonstration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runtime.cli.overrides import parse_overrides

EXIT_CODES = """exit codes: 0 all well; 1 the config or the robot is not as it should be (the reasons are printed);
2 wrong usage; for `demo` also 1 when the task did not succeed, for `replay` when a limit is exceeded"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command. Returns the exit code."""
    args = _parser().parse_args(argv)
    return int(args.call(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reflexd", description=__doc__, epilog=EXIT_CODES)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = _command(commands, "run", "run the robot of CONFIG until SIGTERM; operate it with reflexctl", _run)
    run.add_argument("config", type=Path)
    _common(run)

    check = _command(commands, "check", "check CONFIG, with the arithmetic of its buses", _check)
    check.add_argument("config", type=Path)

    emulate = _command(
        commands, "emulate", "play the motors, sensors and lines of CONFIG (needs the extra `sim`)", _emulate
    )
    emulate.add_argument("config", type=Path)
    _common(emulate)

    demo = _command(commands, "demo", "run CONFIG against its emulated robot and report how it went", _demo)
    demo.add_argument("config", type=Path, nargs="?", default=None, help="default: configs/demo.toml")
    demo.add_argument("--inline", action="store_true", help="run the inference inside the tick, as a bad example")
    demo.add_argument(
        "--camera", action="store_true", help="configs/demo_camera.toml, whose policy sees through a camera"
    )
    demo.add_argument("--latency", type=float, metavar="S", help="inference latency, s (default: the config's)")
    demo.add_argument("--seed", type=int, help="seed of the emulated task (default: the config's)")
    demo.add_argument(
        "--view", type=Path, metavar="FILE.gif", help="render the scene to an animated GIF at the end"
    )
    demo.add_argument("--json", action="store_true", help="print the report as JSON, and no live view")
    _common(demo)

    replay = _command(commands, "replay", "show a recording to a policy, or play it to an emulated robot", _replay)
    _replay_arguments(replay)

    _command(commands, "version", "print the version", _version)
    return parser


def _command(commands: Any, name: str, text: str, call: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
    parser.set_defaults(call=call)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="folder of the sockets, `{run}` in the config")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the config with a TOML value, for example --set policy.latency=0.1",
    )


def _load(args: argparse.Namespace) -> Any:
    from runtime.config.errors import ConfigError

    try:
        return _read(args)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _read(args: argparse.Namespace) -> Any:
    from runtime.config.load import load

    return load(args.config, run_dir=args.run_dir, overrides=parse_overrides(args.set))


def _run(args: argparse.Namespace) -> int:
    import uvloop

    from drivers.errors import DriverError
    from runtime import log
    from runtime.config.errors import ConfigError
    from runtime.control.realtime import RealtimeError
    from runtime.daemon import Daemon
    from runtime.link.errors import SocketError
    from safety.errors import SafetyError

    config = _load(args)
    config.places.run.mkdir(parents=True, exist_ok=True)
    log.start()
    code = 0
    try:
        uvloop.run(Daemon(config, partial(_read, args)).run())
    except* (ConfigError, DriverError, SafetyError, SocketError, RealtimeError) as group:
        for error in _leaves(group):
            print(f"reflexd: {error}", file=sys.stderr)
        code = 1
    finally:
        log.stop()
    return code


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _check(args: argparse.Namespace) -> int:
    from runtime.cli.check import check

    return check(args.config)


def _emulate(args: argparse.Namespace) -> int:
    from runtime.cli.emulate import emulate

    return emulate(_load(args))


def _demo(args: argparse.Namespace) -> int:
    from runtime.cli.demo import demo

    if args.config is None:
        name = "demo_camera.toml" if args.camera else "demo.toml"
        here, installed = Path("configs", name), Path(sys.prefix, "share/reflexd/configs", name)
        args.config = installed if installed.exists() and not here.exists() else here
    return demo(args)


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    from runtime.cli.replay import add_arguments

    add_arguments(parser)


def _replay(args: argparse.Namespace) -> int:
    from runtime.cli.replay import replay

    return replay(args)


def _version(args: argparse.Namespace) -> int:
    from runtime import version

    print(f"reflexd {version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
