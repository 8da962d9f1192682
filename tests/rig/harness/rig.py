"""What a scenario works with: the robot's operator, the hand at the e-stop, the eye on lines and motors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.rig.harness.agent import Done
from tests.rig.harness.target import BOARD, MOTORS, Target

UNIT = "reflexd@rig"
SOCKET = "/run/reflexd/rig/reflexd.sock"
HAND = "/run/rig-hand/hand.sock"
MEMBER, STRANGER = "member", "stranger"
"""A user of the operators' group, and one outside of it."""
STILL_RAD = 0.03
"""A joint that moves less than this in half a second stands."""


class Refused(Exception):
    """The daemon has refused a request, or (code `link`) has not answered it."""

    def __init__(self, code: str, message: str, reasons: list[str]) -> None:
        super().__init__("; ".join([message, *reasons]))
        self.code = code


class Rig:
    """One scenario's robot."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.facts: list[str] = []
        """What the summary says about this scenario."""
        self.before: dict[str, Any] = {}
        """What there was before the scenario broke anything."""
        self.allowed: set[str] = set()
        """Residues that this scenario asks for, see `tests.rig.harness.residue`."""

    # The robot's computer

    def run(self, command: str, user: str | None = None, timeout_s: float = 60.0) -> Done:
        """Run a shell command on the robot's computer."""
        return self.target.run(command, user, timeout_s)

    def sh(self, command: str, timeout_s: float = 60.0) -> str:
        """Run a shell command as root that has to succeed; what it printed."""
        done = self.run(command, timeout_s=timeout_s)
        assert done.code == 0, f"`{command}`: {done}"
        return done.out

    def main_pid(self) -> int:
        """Process of the daemon; 0 while there is none."""
        return int(self.sh(f"systemctl show -P MainPID {UNIT}"))

    def property(self, name: str, unit: str = UNIT) -> str:
        """A property of a unit, as `systemctl show` tells it."""
        return self.sh(f"systemctl show -P {name} {unit}").strip()

    def restart(self) -> None:
        """Start the daemon anew, disarmed."""
        self.sh(f"systemctl reset-failed {UNIT}; systemctl restart {UNIT}", 90.0)

    def journal(self, since: str = "") -> str:
        """What the daemon and systemd said about it in this boot, after the cursor `since`."""
        after = f"--after-cursor='{since}'" if since else ""
        return self.sh(f"journalctl -b -u {UNIT} --no-pager -o short-monotonic {after}")

    def cursor(self) -> str:
        """Where the journal is now."""
        return self.sh("journalctl -n 0 --show-cursor").split("cursor: ")[1].strip()

    # The operator

    def ctl(self, *words: str, user: str | None = MEMBER, timeout_s: float = 60.0) -> Done:
        """The program `reflexctl`, run by a user."""
        return self.run(f"reflexctl --socket {SOCKET} {' '.join(words)}", user, timeout_s)

    def request(self, op: str, **arguments: Any) -> Any:
        """What `reflexctl` does, only faster. Raises Refused."""
        reply = self.target.ask_robot(HAND, [op, arguments])
        if "code" in reply:
            raise Refused(reply["code"], reply["message"], reply["reasons"])
        return reply["result"]

    def refused(self, op: str, **arguments: Any) -> Refused:
        """The same, but it has to be refused; why it was."""
        try:
            result = self.request(op, **arguments)
        except Refused as refusal:
            return refusal
        raise AssertionError(f"{op} was not refused: {result}")

    def status(self) -> dict[str, Any]:
        """The daemon's status. Raises Refused with the code `link` when it does not answer."""
        found: dict[str, Any] = self.request("status")
        return found

    def mode(self) -> str:
        """The daemon's mode; empty when it does not answer."""
        try:
            return str(self.status()["mode"])
        except (Refused, OSError):
            return ""

    def events(self) -> list[dict[str, Any]]:
        """Everything that the running daemon has told."""
        found: list[dict[str, Any]] = []
        since, more = 0, True
        while more:
            page = self.request("events", since=since)
            found += page["events"]
            since, more = page["next"], page["more"]
        return found

    def event(self, name: str) -> dict[str, Any] | None:
        """The last event of this name, None when there was none."""
        return next((event for event in reversed(self.events()) if event["name"] == name), None)

    def reset(self, timeout_s: float = 120.0) -> None:
        """Reset as soon as it is not refused."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.request("reset")
            except Refused:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def policy_ready(self) -> None:
        """Return when the policy is ready: before, arming is refused."""
        self.wait(lambda: self.status()["policy"]["state"] == "ready", what="the policy is ready")

    def arm(self) -> None:
        """Arm, once the policy is ready."""
        self.policy_ready()
        self.request("arm")

    def run_policy(self) -> None:
        """Arm and start, and see that everything moves."""
        self.arm()
        self.request("start")
        self.wait(lambda: all(self.moving()), what="every joint moves")

    def replaced(self, pid: int) -> None:
        """Return when systemd has started another daemon than this process."""
        self.wait(lambda: self.main_pid() not in (0, pid), what="systemd starts another daemon")

    def stopped_by_lost_bus(self, name: str) -> None:
        """A bus does not answer any more: all joints stand, those on other buses too, without power."""
        self.wait(lambda: self.mode() == "FAULT", what="mode FAULT")
        lost = self.event("joint.lost")
        assert lost
        assert lost["fields"]["bus"] == name, lost
        self.wait(lambda: not any(self.moving()), what="all joints stand")
        self.wait(lambda: not self.drive_enable(), what="drive-enable falls")

    def safe_after_start(self) -> None:
        """The daemon has been started by somebody else than an operator: it is ready, and nothing is energised."""
        mode = self.wait(self.mode, what="the daemon answers")
        self.wait(lambda: self.property("ActiveState") == "active", what="the service is ready")
        assert mode == "STANDBY", mode
        assert not self.drive_enable()
        assert not any(self.moving()), "nothing moves by itself"

    # The second board

    def board(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One order to the second board, see `guest/board.py`. Raises RuntimeError with its error."""
        return _good(self.target.ask_board(BOARD, [op, arguments], 60.0))

    def press(self, *channels: str) -> None:
        """Press the e-stop, or open only these of its channels: `estop`, `estop_second`."""
        self.board("press", **({"channels": channels} if channels else {}))

    def release(self) -> None:
        """Release it."""
        self.board("release")

    def drive_enable(self) -> bool:
        """Whether the line that lets motor power flow is active, as the world outside sees it."""
        return self.board("levels")["drive_enable"] == 1

    def motors(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One request to the program that plays the motors."""
        return _good(self.target.ask_board(MOTORS, {"op": op, **arguments}))

    def positions(self) -> list[float]:
        """Where the joints are, rad."""
        return _positions(self.motors("state"))

    def torques(self) -> list[float]:
        """What the motors give, Nm."""
        joints = self.motors("state")["joints"]
        return [joints[name]["torque"] for name in sorted(joints)]

    def moving(self) -> list[bool]:
        """Which joints move, watched for half a second of their own time."""
        state = self.motors("state")
        end, seen = state["time"] + 0.5, [_positions(state)]
        while state["time"] < end:
            time.sleep(0.02)
            state = self.motors("state")
            seen.append(_positions(state))
        return [max(joint) - min(joint) > STILL_RAD for joint in zip(*seen, strict=True)]

    # Time

    def wait(self, condition: Callable[[], Any], timeout_s: float = 120.0, what: str = "") -> Any:
        """Return what `condition` returns as soon as it is true."""
        start = time.monotonic()
        while not (found := condition()):
            waited = time.monotonic() - start
            assert waited < timeout_s, f"did not happen within {timeout_s:g} s: {what}"
            # Its one processor has other things to do than to answer.
            time.sleep(min(0.1 + waited / 10, 1.0))
        return found

    def note(self, fact: str) -> None:
        """A line for the summary."""
        self.facts.append(fact)


def _positions(state: dict[str, Any]) -> list[float]:
    joints = state["joints"]
    return [joints[name]["position"] for name in sorted(joints)]


def _good(reply: dict[str, Any]) -> dict[str, Any]:
    if reply.get("error"):
        raise RuntimeError(reply["error"])
    return reply
