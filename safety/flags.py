"""What the watches have to say: looked at, guarded, told once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from safety.action import Action
from safety.watch import Clear, Flag, Watch


class Flags:
    """Asks all watches. One that fails is a flag itself: what it guards is not guarded any more."""

    def __init__(self, watches: Sequence[Watch], tell: Callable[..., object]) -> None:
        """`tell(name, message, level, **fields)` passes on an event."""
        self.standing: tuple[Flag, ...] = ()
        """All flags of the last look; of several with one name, the worst is the last."""
        self._watches = tuple(watches)
        self._tell = tell
        self._told: dict[str, Flag] = {}

    def look(self, now_ns: int) -> None:
        """Ask every watch. `now_ns`: CLOCK_MONOTONIC, ns."""
        found: list[Flag] = []
        for watch in self._watches:
            try:
                found.extend(watch.look(now_ns))
            except Exception as error:
                name = type(watch).__name__
                text = f"a defect in the watch {name}: {type(error).__name__}: {error}"
                found.append(Flag(f"watch.{name}", Action.TORQUE_OFF, Clear.RESET, text))
        self.standing = tuple(sorted(found, key=lambda flag: flag.action))

    def text(self, name: str) -> str:
        """A standing flag in words."""
        return {flag.name: flag.text for flag in self.standing}.get(name, name)

    def tell(self) -> None:
        """One event when a flag is new or calls for something else than before, one when it is gone."""
        standing = {flag.name: flag for flag in self.standing}
        for name, flag in standing.items():
            if name not in self._told or self._told[name].action != flag.action:
                level = "warning" if flag.action < Action.HOLD else "error"
                action, clear = flag.action.name.lower(), str(flag.clear)
                self._tell("safety.flag", flag.text, level, flag=name, action=action, clear=clear)
        for name in self._told.keys() - standing.keys():
            self._tell("safety.flag_gone", f"gone: {self._told[name].text}", "info", flag=name)
        self._told = standing
