"""The daemon with a watch that says what a file says, and that asks for the stop which another one names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import runtime.safety_task
from runtime.cli.reflexd import main
from safety.action import Action
from safety.supervisor import Supervisor
from safety.watch import Clear, Flag

FOLDER = Path(os.environ["STATE_DIRECTORY"])


class FileWatch:
    """`flags.json`: `[["zone", "HOLD", "reset"]]`; `stop`: the category of a stop, asked for once."""

    supervisor: Supervisor

    def look(self, now_ns: int) -> list[Flag]:
        stop, flags = FOLDER / "stop", FOLDER / "flags.json"
        if stop.exists():
            category = int(stop.read_text())
            stop.unlink()
            self.supervisor.request_stop(category, "asked by the test")
        told = json.loads(flags.read_text()) if flags.exists() else []
        return [
            Flag(name, Action[action], Clear(clear), f"the test says {action}") for name, action, clear in told
        ]


def supervisor(*args: Any, watches: Sequence[Any] = (), **options: Any) -> Supervisor:
    watch = FileWatch()
    watch.supervisor = Supervisor(*args, watches=[*watches, watch], **options)
    return watch.supervisor


runtime.safety_task.Supervisor = supervisor  # type: ignore
sys.exit(main())
