"""`reflexd emulate`: play the hardware of a config until SIGTERM."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from runtime.config.config import Config
from runtime.config.emulator import emulator_spec
from runtime.notify import Notifier

NO_SIM = "the emulated robot needs the extra `sim`: pip install 'reflexd[sim]'"


def write_spec(config: Config) -> Path:
    """Write what the emulator's process is told into the run directory. Returns the file."""
    config.places.run.mkdir(parents=True, exist_ok=True)
    path = config.places.run / "emulator.json"
    path.write_text(json.dumps(emulator_spec(config), indent=1))
    return path


def emulate(config: Config) -> int:
    """Run the emulator in this process. Returns its exit code."""
    if config.emulated is None:
        print(f"{config.path}: there is no [emulated] section, so there is nothing to play", file=sys.stderr)
        return 1
    try:
        from drivers.emulated.__main__ import main
    except ModuleNotFoundError as error:
        print(f"{NO_SIM} ({error})", file=sys.stderr)
        return 1
    notifier = Notifier()
    try:
        return main([str(write_spec(config))], notifier.ready)
    finally:
        notifier.close()
