"""Plays the cables of a bench whose two computers are one machine: GPIO lines of gpio-sim, and a serial bus.

`cables.py BOARD_LINES ROBOT_END BOARD_END`: the folder of the board's lines (`sim_gpioN`), and what the ends of
the serial cable are called.
"""

import os
import select
import sys
import threading
import time
import tty

OUT = ("estop", "estop_second", "reset")
BACK = ("drive_enable", "heartbeat")
ROBOT = "/run/rig/lines"
LOOK_S = 0.001


def carry(source, target):
    """The level of one line becomes what another is pulled to."""
    with open(f"{source}/value") as file:
        level = int(file.read())
    pull = ("pull-down", "pull-up")[level]
    with open(f"{target}/pull", "r+") as file:
        if file.read().strip() != pull:
            file.seek(0)
            file.write(pull)


def lines(board):
    at = {name: f"{board}/sim_gpio{number}" for number, name in enumerate(OUT + BACK)}
    while True:
        for name in OUT:
            carry(at[name], f"{ROBOT}/{name}")
        for name in BACK:
            carry(f"{ROBOT}/{name}", at[name])
        carry(f"{ROBOT}/drive_enable", f"{ROBOT}/drive_feedback")  # the contactor
        time.sleep(LOOK_S)


def serial(*names):
    ends = []
    for name in names:
        master, slave = os.openpty()
        tty.setraw(slave)
        if os.path.lexists(name):
            os.unlink(name)
        os.symlink(os.ttyname(slave), name)
        os.chmod(os.ttyname(slave), 0o666)
        ends.append(master)
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    while True:
        for end in select.select(ends, [], [])[0]:
            os.write(other[end], os.read(end, 4096))


threading.Thread(target=lines, args=sys.argv[1:2], daemon=True).start()
serial(*sys.argv[2:])
