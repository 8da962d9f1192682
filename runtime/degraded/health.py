"""Whether the robot may go on as it does: attempts that failed in a row, and stops because of joints in an hour.

Both are counted over a restart of the daemon: `look` has them written to a file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime import kept
from runtime.config.degraded import Degraded as Options
from runtime.events import Events
from runtime.kept import StoreError

HOUR_NS = 3_600_000_000_000
_KEY = "health"


class Health:
    """One for a daemon. Everything runs on the loop's thread; only the file is written on another."""

    def __init__(
        self, options: Options, path: Path, events: Events, wall: Callable[[], int] = time.time_ns
    ) -> None:
        """`path`: of the file. `wall`: CLOCK_REALTIME, ns: it goes on while the machine is off."""
        self.failed_attempts = 0
        """In a row."""
        self.unhealthy = ""
        """Why the robot must be looked after, one sentence; empty while it need not."""
        self._faults: list[int] = []  # when, wall time, ns
        self._options = options
        self._path = path
        self._events = events
        self._wall = wall
        self._changed = False
        self._not_kept = False
        """The file could not be written, and that was told."""

    def begin(self) -> None:
        """Take up what the daemon before has left. What cannot be read is unhealthy. Never raises."""
        try:
            told = kept.read(self._path, _KEY)
            if told is not None:
                self.failed_attempts = int(told["failed_attempts"])
                self._faults = [int(fault) for fault in told["joint_faults"]]
                self.unhealthy = str(told["unhealthy"])
        except StoreError as error:
            self.unhealthy = str(error)
        except (ValueError, KeyError, TypeError) as error:
            self.unhealthy = f"{self._path} is of another release: {type(error).__name__}: {error}"
        if self.unhealthy:
            self._alert("degraded.unhealthy", self.unhealthy)
        if self.auto_disabled:
            self._alert("degraded.auto_disabled", self._why_no_auto())

    @property
    def joint_faults(self) -> int:
        """Stops because of joints within the last hour."""
        now_ns = self._wall()
        return sum(abs(now_ns - fault) < HOUR_NS for fault in self._faults)

    @property
    def auto_disabled(self) -> bool:
        """The policy cannot be started until a person resets."""
        return self.failed_attempts > self._options.failed_attempts

    def run_ended(self, why: str) -> None:
        """A run of the policy has ended. `why` it has failed, one sentence; empty when it has not."""
        if not why:
            self._changed = self._changed or self.failed_attempts > 0
            self.failed_attempts = 0
            return
        self.failed_attempts += 1
        self._changed = True
        self._events.emit(
            "degraded.failed_attempt",
            f"failed attempt {self.failed_attempts} in a row: {why}",
            level="warning",
            attempts=self.failed_attempts,
        )
        if self.auto_disabled:
            self._alert("degraded.auto_disabled", self._why_no_auto())

    def joint_fault(self) -> None:
        """Joints have failed, and the robot stops because of them: counted once, however many they are."""
        now_ns = self._wall()
        self._faults = [fault for fault in self._faults if abs(now_ns - fault) < HOUR_NS] + [now_ns]
        self._changed = True
        if not self.unhealthy and len(self._faults) > self._options.joint_faults:
            self.unhealthy = (
                f"joints have stopped the robot {len(self._faults)} times within an hour, at most "
                f"{self._options.joint_faults} are allowed (degraded.joint_faults)"
            )
            self._alert("degraded.unhealthy", self.unhealthy)

    def bars_arming(self) -> list[str]:
        """Why no motor may be energised; empty when they may."""
        if not self.unhealthy:
            return []
        return [f"the robot is unhealthy: {self.unhealthy}; mend it, then `reflexctl reset --healthy`"]

    def bars_auto(self) -> list[str]:
        """Why the policy may not be started; empty when it may."""
        return [f"{self._why_no_auto()}; look after it, then `reflexctl reset`"] if self.auto_disabled else []

    def needs_reset(self, healthy: bool) -> bool:
        """Whether `reset` would change anything."""
        return self.auto_disabled or (healthy and bool(self.unhealthy))

    def reset(self, healthy: bool) -> None:
        """A person has reset. It ends what AUTO is disabled for, and no row before that: every e-stop needs one.

        `healthy`: the joints were looked after as well.
        """
        if self.auto_disabled:
            self.failed_attempts = 0
        if healthy:
            self.unhealthy, self._faults = "", []
        self._changed = True

    def status(self) -> dict[str, Any]:
        """For `reflexctl status`."""
        return {
            "unhealthy": self.unhealthy or None,
            "joint_faults": self.joint_faults,
            "failed_attempts": self.failed_attempts,
            "auto_disabled": self.auto_disabled,
        }

    async def keep(self) -> None:
        """Write what has changed since the last call. Call it about once a second, and at the end."""
        if not self._changed:
            return
        self._changed = False
        told = {
            "failed_attempts": self.failed_attempts,
            "joint_faults": list(self._faults),
            "unhealthy": self.unhealthy,
        }
        try:
            await asyncio.to_thread(kept.write, self._path, _KEY, told)
            self._not_kept = False
        except OSError as error:
            self._changed = True
            if not self._not_kept:
                self._not_kept = True
                text = f"{self._path} cannot be written: {error.strerror}; a restart forgets what it would say"
                self._events.emit("health.not_kept", text, level="warning")

    def _why_no_auto(self) -> str:
        return (
            f"{self.failed_attempts} attempts in a row have failed, at most {self._options.failed_attempts} may "
            "(degraded.failed_attempts): AUTO is disabled"
        )

    def _alert(self, name: str, text: str) -> None:
        self._events.emit(name, text, level="error")
