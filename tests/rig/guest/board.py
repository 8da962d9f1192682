"""The second board: presses the robot's buttons, and watches drive-enable and the heartbeat line.

`board.py serve --sim DIR` (lines of gpio-sim, in the rig's machine) or `board.py serve --chip /dev/gpiochipN
--estop N --estop-second N --reset N --drive-enable N --heartbeat N` (a real board; needs the package `gpiod`)
holds the lines and listens at a Unix socket: one JSON line `[OP, {...}]`, one JSON line back. Python 3.10+.

In the rig's machine it plays the contactor behind drive-enable. On a bench there is a real one, and it plays the
power of the played motors, which the file POWER tells.
"""

import argparse
import json
import os
import random
import socket
import threading
import time

SOCKET = "/run/rig/board.sock"
POWER = "/run/rig/power"
CHANNELS = ("estop", "estop_second")
CONTACTS = (*CHANNELS, "reset")
LINES = (*CONTACTS, "drive_enable", "heartbeat")
LOOK_S = 0.0005
REACT_S = 0.00005
CONTACTOR_S = 0.02


class SimLines:
    """Lines of gpio-sim from the outside: what the world pulls, and what the line is."""

    def __init__(self, folder):
        self.folder = folder

    def level(self, name):
        """1, 0, or None when the line is gone."""
        try:
            with open(f"{self.folder}/{name}/value") as file:
                return int(file.read())
        except OSError:
            return None

    def close_contact(self, name, closed):
        with open(f"{self.folder}/{name}/pull", "w") as file:
            file.write("pull-up" if closed else "pull-down")


class Contactor(threading.Thread):
    """Follows drive-enable as long as it is good; its mirror contact is the line `drive_feedback`."""

    def __init__(self, lines):
        super().__init__(daemon=True)
        self.lines = lines
        self.kind = "good"

    def run(self):
        closed = None
        while True:
            on = self.lines.level("drive_enable") == 1
            now = {"good": on, "welded": on or bool(closed), "stuck": False}[self.kind]
            if now != closed:
                closed = now
                self.lines.close_contact("drive_feedback", closed)
            time.sleep(CONTACTOR_S)


class ChipLines:
    """Lines of a real chip: a relay for each of the robot's contacts, and two inputs."""

    def __init__(self, chip, **offsets):
        import gpiod
        from gpiod.line import Direction, Value

        self.values = {True: Value.ACTIVE, False: Value.INACTIVE}
        self.offsets = offsets
        outputs = tuple(offsets[name] for name in CONTACTS)
        inputs = tuple(offset for offset in offsets.values() if offset not in outputs)
        # The contacts are open, so the e-stop is pressed, whenever nobody holds the lines.
        self.request = gpiod.request_lines(
            chip,
            consumer="reflexd rig",
            config={
                outputs: gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value.INACTIVE),
                inputs: gpiod.LineSettings(direction=Direction.INPUT),
            },
        )

    def level(self, name):
        return int(self.request.get_value(self.offsets[name]) == self.values[True])

    def close_contact(self, name, closed):
        if name in self.offsets:
            self.request.set_value(self.offsets[name], self.values[closed])
        else:
            with open(POWER, "w") as file:
                file.write(f"{closed:d}")


def press(lines, channels=CHANNELS):
    """Open the e-stop's contacts, or only one of them."""
    for name in channels:
        lines.close_contact(name, False)
    return {}


def release(lines, channels=CHANNELS):
    """Close them."""
    for name in channels:
        lines.close_contact(name, True)
    return {}


def button(lines, pressed):
    """Press the reset button, or let it go."""
    lines.close_contact("reset", pressed)
    return {}


def contactor(lines, kind):
    """What the played contactor is from now on: `good`, `welded` or `stuck`."""
    lines.contactor.kind = kind
    return {}


def levels(lines):
    """All lines as they are."""
    return {name: lines.level(name) for name in LINES}


def react(lines, within=1.0, patience=5.0):
    """Press at a random moment within so many seconds; how long drive-enable takes to fall, us, or null."""
    time.sleep(random.random() * within)
    before = lines.level("drive_enable")
    pressed = time.monotonic_ns()
    press(lines)
    while True:
        low = lines.level("drive_enable") == 0
        now = time.monotonic_ns()
        if low or now - pressed > patience * 1e9:
            return {"before": before, "us": (now - pressed) / 1e3 if low else None}
        time.sleep(REACT_S)  # the robot may have the same processor


def watch(lines, seconds=10.0, names=LINES):
    """Every change of some lines: `[CLOCK_MONOTONIC in s, name, level]`; the first entries are how they were."""
    found = [[time.monotonic(), name, lines.level(name)] for name in names]
    last = {name: level for _, name, level in found}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in names:
            level = lines.level(name)
            if level != last[name]:
                last[name] = level
                found.append([time.monotonic(), name, level])
        time.sleep(LOOK_S)
    return {"changes": found}


OPS = {call.__name__: call for call in (press, release, button, contactor, levels, react, watch)}


def answer(client, lines):
    with client, client.makefile("rw") as stream:
        try:
            op, arguments = json.loads(stream.readline())
            reply = OPS[op](lines, **arguments)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        stream.write(json.dumps(reply) + "\n")


def serve(lines):
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    listener.bind(SOCKET)
    listener.listen(8)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=answer, args=(client, lines), daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["serve"])
    parser.add_argument("--sim")
    parser.add_argument("--chip")
    for name in LINES:
        parser.add_argument("--" + name.replace("_", "-"), type=int)
    given = parser.parse_args()
    if given.sim:
        lines = SimLines(given.sim)
    else:
        lines = ChipLines(given.chip, **{name: getattr(given, name) for name in LINES})
    os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
    lines.contactor = Contactor(lines)
    lines.contactor.start()
    serve(lines)


main()
