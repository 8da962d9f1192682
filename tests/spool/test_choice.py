from __future__ import annotations

from pathlib import Path

import pytest

from runtime.spool.layout import Class, Entry, Reason, State
from runtime.spool.upload.choice import default_interface, is_quiet, next_to_send

ALWAYS = dict.fromkeys(Class, "always")
POLITE = dict.fromkeys(Class, "unmetered") | {Class.SAFETY: "always"}


def ready(name: str, kind: Class = Class.BULK) -> Entry:
    return Entry(Path("/s"), State.READY, kind, name, 1)


LOST = Entry(Path("/s"), State.LOST, Class.BULK, "l", 1, reason=Reason.SIZE_MAX)


def test_class_goes_before_age() -> None:
    waiting = [ready("b"), ready("a"), ready("z", Class.SAFETY)]
    assert next_to_send(waiting, ALWAYS, restricted=False) == waiting[2]
    assert next_to_send(waiting[:2], ALWAYS, restricted=False) == waiting[1]


def test_a_restriction_leaves_what_goes_always_reports_and_what_is_urgent() -> None:
    assert next_to_send([ready("a")], POLITE, restricted=True) is None
    assert next_to_send([ready("a")], POLITE, restricted=False) is not None
    assert next_to_send([ready("a")], POLITE, restricted=True, urgent={"a"}) is not None
    assert next_to_send([ready("a", Class.SAFETY)], POLITE, restricted=True) is not None
    assert next_to_send([LOST], POLITE, restricted=True) == LOST


def test_never_is_never() -> None:
    never = dict.fromkeys(Class, "never")
    assert next_to_send([ready("a"), LOST], never, restricted=False, urgent={"a", "l"}) is None


def test_what_the_server_has_is_not_sent() -> None:
    done = [
        Entry(Path("/s"), State.SENT, Class.BULK, "a", 1),
        Entry(Path("/s"), State.REPORTED, Class.BULK, "b", 1, reason=Reason.FREE_MIN),
    ]
    assert next_to_send(done, ALWAYS, restricted=False) is None


@pytest.mark.parametrize(
    ("minute", "quiet"),
    [(7 * 60 - 1, False), (7 * 60, True), (9 * 60 - 1, True), (9 * 60, False), (1439, True), (0, True)],
)
def test_quiet_hours(minute: int, quiet: bool) -> None:
    assert is_quiet(["07:00-09:00", "23:30-00:30"], minute) is quiet
    assert not is_quiet([], minute)


def test_the_link_is_the_default_route_with_the_lowest_metric(tmp_path: Path) -> None:
    head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    routes, none = tmp_path / "route", tmp_path / "none"
    routes.write_text(
        head
        + "wwan0 00000000 0101A8C0 0003 0 0 700 00000000 0 0 0\n"
        + "wlan0 00000000 0101A8C0 0003 0 0 600 00000000 0 0 0\n"
        + "eth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n"
    )
    assert default_interface(routes, none) == "wlan0"
    routes.write_text(head)
    assert default_interface(routes, none) is None
    zero, via = "0" * 32, "fe80" + "0" * 28
    six = tmp_path / "six"
    six.write_text(
        f"{zero} 00 {zero} 00 {via} 00000400 00000001 00000000 00000003     wwan0\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
    )
    assert default_interface(routes, six) == "wwan0"
