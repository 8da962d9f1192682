"""What is sent next: pure functions of what waits, of the time of the day and of the link."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from runtime.spool.layout import Class, Entry, State

_ROUTES = Path("/proc/self/net/route")
_ROUTES_6 = Path("/proc/self/net/ipv6_route")


def next_to_send(
    entries: Iterable[Entry], when: Mapping[Class, str], restricted: bool, urgent: Collection[str] = ()
) -> Entry | None:
    """The segment, or the report of a lost one, to send now; None when nothing may be sent.

    The most valuable class first, then the oldest. `when`: a word for each class, as in `[upload.when]`.
    `restricted`: the link is metered, or these are quiet hours; names in `urgent` are sent all the same. A report
    is small: it goes whenever its class goes at all.
    """

    def may_go(entry: Entry) -> bool:
        word = when[entry.kind]
        if word == "never" or entry.state not in (State.READY, State.LOST):
            return False
        return word == "always" or not restricted or entry.state == State.LOST or entry.name in urgent

    waiting = [entry for entry in entries if may_go(entry)]
    return min(waiting, key=lambda entry: (-entry.kind.worth, entry.name), default=None)


def is_quiet(spans: Sequence[str], minute: int) -> bool:
    """Whether a minute of the day (0 ... 1439) lies in one of the spans `HH:MM-HH:MM`, without their ends."""
    for span in spans:
        first, last = (int(hour) * 60 + int(rest) for hour, _, rest in (t.partition(":") for t in span.split("-")))
        if first <= minute < last if first <= last else minute >= first or minute < last:
            return True
    return False


def is_metered(interfaces: Collection[str]) -> bool:
    """Whether the default route of this machine goes through one of these network interfaces."""
    return bool(interfaces) and default_interface() in interfaces


def default_interface(routes: Path = _ROUTES, routes_6: Path = _ROUTES_6) -> str | None:
    """The interface of the default route with the lowest metric; None without one. See proc_net(5)."""
    found: list[tuple[int, str]] = []
    for line in _lines(routes)[1:]:
        name, target, _, flags, _, _, metric, mask, *_ = line.split()
        if int(target, 16) == 0 and int(mask, 16) == 0 and int(flags, 16) & 1:
            found.append((int(metric), name))
    if not found:
        for line in _lines(routes_6):
            target, length, _, _, _, metric, _, _, _, name = line.split()
            if int(target, 16) == 0 and int(length, 16) == 0 and name != "lo":
                found.append((int(metric, 16), name))
    return min(found)[1] if found else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
