"""What a scenario may not leave behind, looked up on the robot's computer before and after it."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.rig.harness.rig import UNIT, Refused, Rig

PATIENCE_S = 10.0
"""What has to go may take so long."""

LOOK = r"""
import json, os, re, subprocess
def lines(*words):
    return subprocess.run(words, capture_output=True, text=True).stdout.splitlines()
pid = lines("systemctl", "show", "-P", "MainPID", "UNIT")[0]
threads = []
if pid != "0":
    threads = sorted(open(f"/proc/{pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{pid}/task"))
processes = []
for entry in os.listdir("/proc"):
    try:
        words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\0") if entry.isdigit() else []
        group = open(f"/proc/{entry}/cgroup").read() if any(words) else ""
    except OSError:
        continue
    if "reflexd" in group or any(b"reflexd" in word for word in words[:2]):
        told = b" ".join(words[:4]).decode().strip()
        processes.append(re.sub("releases/[^/ ]+", "releases/*", told))
def files(top):
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names)
links = {}
for link in json.loads("".join(lines("ip", "-s", "-j", "link", "show", "type", "vcan")) or "[]"):
    if not link:
        continue  # each interface of another type is told as an empty one
    counters = link["stats64"]
    links[link["ifname"]] = {way: {name: counters[way][name] for name in counters[way] if name in
        ("errors", "over_errors", "carrier_errors", "collisions")} for way in ("rx", "tx")}
print(json.dumps({
    "threads": threads,
    "processes": sorted(processes),
    "files": files("/run/reflexd") + files("/run/rig"),
    "shared memory": files("/dev/shm"),
    "bus error counters": links,
}))
""".replace("UNIT", UNIT)


def look(rig: Rig) -> dict[str, Any]:
    """What there is now."""
    found: dict[str, Any] = json.loads(rig.sh(f"python3 - <<'LOOK'\n{LOOK}\nLOOK"))
    return found


def left(rig: Rig) -> list[str]:
    """What a scenario has left, in words; empty when all is as it was in `rig.before`.

    A scenario that asks for something says so: `rig.allowed.add("latched")`, or one of the names in `rig.before`.
    """
    found = []
    try:
        state = rig.status()
    except Refused as problem:
        found.append(f"no daemon: {problem}")
    else:
        if state["mode"] in ("ESTOP", "FAULT") and "latched" not in rig.allowed:
            found.append(f"a latched {state['mode']}: {'; '.join(state['stop']['reasons'])}")
        elif state["mode"] not in ("STANDBY", "ESTOP", "FAULT"):
            found.append(f"the mode {state['mode']}")
        if any(bus["corrupt"] for bus in state["buses"]) and "bus error counters" not in rig.allowed:
            found.append(f"bus error counters: {state['buses']}")
    if rig.board("levels")["drive_enable"] not in (0, None):
        found.append("drive-enable is active")
    deadline = time.monotonic() + PATIENCE_S
    while any(torques := rig.torques()) and time.monotonic() < deadline:
        time.sleep(0.1)  # what a motor gives is worked out once in a step of the physics
    if any(torques):
        found.append(f"a motor with torque: {torques} Nm")
    while (changed := _changed(rig)) and time.monotonic() < deadline:
        time.sleep(0.5)  # a process that was just started has not all of its threads yet
    return found + changed


def _changed(rig: Rig) -> list[str]:
    now = look(rig)
    return [
        f"{name}: {_difference(before, now[name])}"
        for name, before in rig.before.items()
        if now[name] != before and name not in rig.allowed
    ]


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, list):
        more = [item for item in now if now.count(item) > before.count(item)]
        less = [item for item in before if before.count(item) > now.count(item)]
        return f"more: {sorted(set(more))}, fewer: {sorted(set(less))}"
    return f"before {before}, now {now}"
