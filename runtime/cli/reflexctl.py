"""`reflexctl`: look at a running reflexd and operate it, through its control socket."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from runtime import version
from runtime.cli import reflexctl_output as output
from runtime.cli.export_arguments import add_arguments as add_export_arguments
from runtime.cli.export_arguments import add_spool_argument
from runtime.cli.find import find
from runtime.events import SAFETY_FAMILIES
from runtime.link.client import Client
from runtime.link.errors import AccessDenied, LinkError, LinkTimeout, NoDaemon, Refused

OK, REFUSED, USAGE, NO_DAEMON, NOT_PERMITTED, NO_ANSWER = range(6)

_EPILOG = """\
exit codes:
  0  done
  1  the daemon refused; the reasons are on standard error, one per line. `preflight`: a check fails
  2  wrong usage
  3  no daemon answers on the socket, or it went away
  4  not permitted
  5  no answer in time, or the other side speaks another protocol

The socket is --socket, else $REFLEXD_SOCKET, else the daemon of this user, else that of the service
(/run/reflexd/NAME/reflexd.sock). When several robots run as services, one must be named; only `estop` without a
name stops them all.
"""

_SAFETY = (*SAFETY_FAMILIES, "reset_button.", "boot.", "daemon.")
"""How the events begin that tell what stopped the robot, and what came before and after."""

_SIMPLE = {
    "status": "show the state of the robot and of the daemon",
    "preflight": "run the checks of `arm` and show each, without arming",
    "arm": "energise the motors and hold where the robot stands; refused with every reason that speaks against it",
    "start": "let the policy move the robot",
    "disarm": "stop the motion, then torque off",
    "estop": "stop at once and stay stopped until reset; everybody who can connect may do this",
    "reload": "read the config again and take over all changes, or refuse; the motors must be off",
    "joints": "show every joint",
    "limits": "show which limits of the envelope act on which joint now, and in how many ticks since the start",
    "histograms": "show how late the ticks were and what they cost",
    "version": "show the versions of reflexctl and of the daemon",
}

_ENDS = {
    "success": "end the episode: the task was done",
    "failure": "end the episode: the task was not done",
    "discard": "end the episode and delete it; a stop that no operator asked for is kept all the same",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    if argv is None:
        # A reader that has seen enough (`reflexctl watch | head`) ends this program like any other.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        # A shell starts what it runs in the background without it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "export":
            from runtime.cli.export import export  # on files: no daemon is asked

            return export(arguments)
        if arguments.command == "episode" and arguments.action == "list":
            from runtime.cli.episode_list import episode_list  # likewise

            return episode_list(arguments)
        return _for_robots(arguments)
    except KeyboardInterrupt:
        return OK if arguments.command in ("watch", "events") else 128 + signal.SIGINT
    except LinkError as error:
        return _report(error, arguments.json)


def _for_robots(arguments: argparse.Namespace) -> int:
    clients, errors = find(arguments.socket, arguments.timeout)
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(client)
        if arguments.command != "estop" and len(clients) + len(errors) > 1:
            paths = ", ".join([*(str(client.path) for client in clients), *map(str, errors)])
            print(
                f"reflexctl: found several robots, expected one; name it with --socket: {paths}", file=sys.stderr
            )
            return USAGE
        codes = []
        for client in clients:
            try:
                codes.append(_run(client, arguments))
            except LinkError as error:
                codes.append(_report(error, arguments.json))
        return max([*codes, *(_report(error, arguments.json) for error in errors)], default=OK)


def _run(client: Client, arguments: argparse.Namespace) -> int:
    command, as_json = arguments.command, arguments.json
    if command == "watch":
        _watch(client, arguments)
    elif command == "events":
        for event in _events(client, arguments):
            if arguments.safety and not event["name"].startswith(_SAFETY):
                continue
            output.write(output.as_json(event) if as_json else output.event(event))
    else:
        op, args = command, dict[str, Any]()
        if command == "command":
            args = {"values": dict(arguments.values)}
        elif command == "move":
            args = {"joints": dict(arguments.joints)}
        elif command == "task":
            args = {key: text for key in ("name", "prompt") if (text := getattr(arguments, key)) is not None}
            op = "task" if args else "tasks"
        elif command == "episode":
            args = {key: text for key in ("action", "task", "note") if (text := getattr(arguments, key, None))}
        elif command == "promote":
            args = {"by": arguments.by}
        elif command == "stop":
            args = {"failed": arguments.failed}
        elif command == "reset":
            args = {"healthy": arguments.healthy}
        elif command == "spool" and arguments.action == "keep":
            command = op = "spool_keep"
            args = {"segment": arguments.segment}
        elif command == "spool" and arguments.action == "upload":
            command = op = "spool_upload"
        result = client.request(op, **args)
        if command == "version":
            result = {"reflexctl": version(), **result}
        output.write(output.as_json(result) if as_json else output.human(command, result))
        if command == "preflight" and not result["ready"]:
            return REFUSED
    return OK


def _watch(client: Client, arguments: argparse.Namespace) -> None:
    stream = client.stream("watch", interval=arguments.interval)
    next(stream)
    screen = None if arguments.json or not sys.stdout.isatty() else output.Screen()
    for count, status in enumerate(stream, 1):
        if screen is not None:
            screen.show(output.human("status", status))
        elif arguments.json:
            output.write(output.as_json(status))
        else:
            output.write(time.strftime("%H:%M:%S") + "\n" + output.human("status", status) + "\n")
        if count == arguments.count:
            return


def _events(client: Client, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    since = arguments.since
    if arguments.follow:
        stream = client.stream("events", since=since, follow=True)
        yield from next(stream)["events"]
        yield from stream
    more = True
    while more:
        page = client.request("events", since=since)
        yield from page["events"]
        since, more = page["next"], page["more"]


def _report(error: LinkError, as_json: bool) -> int:
    print(f"reflexctl: {error}", file=sys.stderr)
    reasons: tuple[str, ...] = ()
    match error:
        case Refused(code="not_permitted"):
            code, exit_code = "not_permitted", NOT_PERMITTED
        case Refused():
            code, reasons, exit_code = error.code, error.reasons, REFUSED
            for reason in reasons:
                print(reason, file=sys.stderr)
        case AccessDenied():
            code, exit_code = "not_permitted", NOT_PERMITTED
        case NoDaemon():
            code, exit_code = "no_daemon", NO_DAEMON
        case LinkTimeout():
            code, exit_code = "timeout", NO_ANSWER
        case _:
            code, exit_code = "protocol", NO_ANSWER
    if as_json:
        output.write(output.as_json({"error": {"code": code, "message": str(error), "reasons": reasons}}))
    return exit_code


class _Version(argparse.Action):
    """`--version`, looked up only when asked for: it takes longer than most commands."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"reflexctl {version()}")
        parser.exit()


def _common(**defaults: Any) -> argparse.ArgumentParser:
    """The options that stand before or after the command; those after it have no defaults of their own."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--socket", metavar="PATH", help="the daemon's control socket")
    common.add_argument(
        "--json", action="store_true", help="print JSON: one document, or one per line for streams"
    )
    common.add_argument(
        "--timeout", type=_seconds, metavar="S", help="longest wait for an answer, seconds (default: 15)"
    )
    common.set_defaults(**defaults)
    return common


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reflexctl",
        parents=[_common(socket=None, json=False, timeout=15.0)],
        description="Look at a running reflexd and operate it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = _common()
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version of reflexctl and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            parents=[common],
            help=help,
            description=help,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    for name, help in _SIMPLE.items():
        add(name, help)
    watch = add("watch", "show the status again and again, until interrupted")
    watch.add_argument(
        "--interval", type=_seconds, default=0.2, metavar="S", help="period, seconds (default: 0.2; at least 0.02)"
    )
    watch.add_argument("--count", type=int, metavar="N", help="end after N times")
    events = add("events", "show what has happened")
    events.add_argument("--follow", action="store_true", help="and what happens from now on, until interrupted")
    events.add_argument("--since", type=_count, default=0, metavar="N", help="only events with a number above N")
    events.add_argument(
        "--safety", action="store_true", help="only what stopped the robot, and what was done before and after"
    )
    command = add("command", "set the operator's commands to the policy, such as a body velocity")
    command.add_argument("values", nargs="+", type=_assignment, metavar="NAME=VALUE", help="for example vx=0.5")
    task = add("task", "show the policy's tasks, or change the one in force, from its next chunk on")
    chosen = task.add_mutually_exclusive_group()
    chosen.add_argument("name", nargs="?", metavar="NAME", help="a task of the config")
    chosen.add_argument("--prompt", metavar="TEXT", help="a task in words of your own, where the config allows it")
    episode = add("episode", "begin an attempt at a task, say how it ended, mark a moment, or list what there is")
    verbs = episode.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    begin = verbs.add_parser("start", help="begin an episode", parents=[common])
    begin.add_argument("--task", metavar="NAME", help="its task; the policy's task changes to it")
    for name, help in _ENDS.items():
        verbs.add_parser(name, help=help, parents=[common])
    mark = verbs.add_parser("mark", help="mark this moment", parents=[common])
    mark.add_argument("note", metavar="NOTE", help="one line of text")
    listing = verbs.add_parser("list", help="show the episodes on this machine; needs no daemon", parents=[common])
    add_spool_argument(listing, "the folder of the recordings")
    stop = add("stop", "stop the motion and hold")
    stop.add_argument("--failed", action="store_true", help="and count the policy's run as a failed attempt")
    reset = add("reset", "leave ESTOP, FAULT or HELD, when their causes are gone, and let the policy start again")
    reset.add_argument("--healthy", action="store_true", help="and take an unhealthy robot for mended")
    promote = add(
        "promote", "sign the commissioning stage off and go to the next one, after a run without an event"
    )
    promote.add_argument("--by", required=True, metavar="NAME", help="who signs: not the person who operated")
    move = add("move", "move joints to angles, in the mode MANUAL")
    move.add_argument("joints", nargs="+", type=_assignment, metavar="JOINT=RAD", help="for example elbow=0.3")
    spool = add("spool", "show which recordings wait for the server, what was lost, and when the upload is done")
    actions = spool.add_subparsers(dest="action", metavar="ACTION", title="actions")
    upload = actions.add_parser("upload", help="send what waits", parents=[common])
    upload.add_argument(
        "--now", action="store_true", required=True, help="in spite of quiet hours, metered links and back-off"
    )
    keep = actions.add_parser("keep", help="never delete a segment", parents=[common])
    keep.add_argument("segment", metavar="NAME", help="its file name without what is behind the first dot")
    add_export_arguments(add("export", "write recordings as a data set, tables or one MCAP file; needs no daemon"))
    return parser


def _assignment(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        parsed = float(value)
    except ValueError:
        parsed = math.nan
    if not name or not equals or not math.isfinite(parsed):
        raise argparse.ArgumentTypeError(f'found "{text}", expected NAME=NUMBER, for example vx=0.5')
    return name, parsed


def _seconds(text: str) -> float:
    try:
        parsed = float(text)
    except ValueError:
        parsed = math.nan
    if not (math.isfinite(parsed) and parsed > 0):
        raise argparse.ArgumentTypeError(f'found "{text}", expected a number of seconds above 0')
    return parsed


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'found "{text}", expected the number of an event, from 0')
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
