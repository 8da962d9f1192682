"""The second board: presses the robot's e-stop, and watches drive-enable and the heartbeat line.

`board.py serve --sim DIR` (lines of gpio-sim, in the rig's machine) or `board.py serve --chip /dev/gpiochipN
--estop N --drive-enable N --heartbeat N` (a real board; needs the package `gpiod`) holds the lines and listens at
a Unix socket: one JSON line `[OP, {...}]`, one JSON line back. Python 3.10 or newer.
"""

import argparse
import json
import os
import random
import socket
import threading
import time

SOCKET = "/run/rig/board.sock"
LINES = ("estop", "drive_enable", "heartbeat")
LOOK_S = 0.0005


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

    def close_contact(self, closed):
        with open(f"{self.folder}/estop/pull", "w") as file:
            file.write("pull-up" if closed else "pull-down")


class ChipLines:
    """Lines of a real chip: a relay in the robot's e-stop circuit, and two inputs."""

    def __init__(self, chip, estop, drive_enable, heartbeat):
        import gpiod
        from gpiod.line import Direction, Value

        self.values = {True: Value.ACTIVE, False: Value.INACTIVE}
        self.offsets = dict(zip(LINES, (estop, drive_enable, heartbeat), strict=True))
        # The contact is open, so the e-stop is pressed, whenever nobody holds the line.
        self.request = gpiod.request_lines(
            chip,
            consumer="reflexd rig",
            config={
                estop: gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value.INACTIVE),
                (drive_enable, heartbeat): gpiod.LineSettings(direction=Direction.INPUT),
            },
        )

    def level(self, name):
        return int(self.request.get_value(self.offsets[name]) == self.values[True])

    def close_contact(self, closed):
        self.request.set_value(self.offsets["estop"], self.values[closed])


def press(lines):
    """Open the e-stop's contact."""
    lines.close_contact(False)
    return {}


def release(lines):
    """Close it."""
    lines.close_contact(True)
    return {}


def levels(lines):
    """All lines as they are."""
    return {name: lines.level(name) for name in LINES}


def react(lines, within=1.0, patience=5.0):
    """Press at a random moment within so many seconds; how long drive-enable takes to fall, us, or null."""
    time.sleep(random.random() * within)
    before = lines.level("drive_enable")
    pressed = time.monotonic_ns()
    lines.close_contact(False)
    while True:
        low = lines.level("drive_enable") == 0
        now = time.monotonic_ns()
        if low or now - pressed > patience * 1e9:
            return {"before": before, "us": (now - pressed) / 1e3 if low else None}


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


OPS = {call.__name__: call for call in (press, release, levels, react, watch)}


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
    os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
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
        serve(SimLines(given.sim))
    serve(ChipLines(given.chip, given.estop, given.drive_enable, given.heartbeat))


main()
