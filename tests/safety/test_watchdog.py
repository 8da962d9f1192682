from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from fcntl import F_GETFL, fcntl
from pathlib import Path
from typing import Any

import pytest

import safety.watchdog
from safety.errors import WatchdogError
from safety.watchdog import MAGICCLOSE, CharDevice, HardwareWatchdog, ServiceWatchdog, sysfs_entry

PATH = Path("/dev/watchdog0")


class FakeDevice:
    """A device as the kernel's watchdog core makes it: `state` tells whether the timer runs."""

    def __init__(self, longest_s: int = 100, options: int = MAGICCLOSE) -> None:
        self.longest_s, self.options = longest_s, options
        self.seconds = 60
        self.running = False
        self.stop_allowed = False
        self.fed = 0
        self.failing: dict[str, int] = {}

    def __call__(self, path: Path) -> FakeDevice:
        self._may_fail("open")
        self.running = True
        return self

    def support(self) -> tuple[int, str]:
        self._may_fail("support")
        return self.options, "i6300ESB timer"

    def set_timeout(self, seconds: int) -> None:
        self._may_fail("set_timeout")
        self.seconds = min(seconds, self.longest_s)

    def timeout(self) -> int:
        return self.seconds

    def keepalive(self) -> None:
        self._may_fail("keepalive")
        self.fed += 1
        self.stop_allowed = False

    def allow_stop(self) -> None:
        self.stop_allowed = True

    def close(self) -> None:
        self.running = not (self.stop_allowed or not self.options & MAGICCLOSE)

    def _may_fail(self, call: str) -> None:
        if call in self.failing:
            raise OSError(self.failing[call], os.strerror(self.failing[call]))


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def watchdog(device: FakeDevice, tmp_path: Path) -> Callable[..., HardwareWatchdog]:
    return lambda timeout_s=10: HardwareWatchdog(PATH, timeout_s, device, tmp_path)


def test_it_is_armed_with_the_time_that_was_asked_for(device: FakeDevice, watchdog: Any) -> None:
    hardware = watchdog()
    assert not device.running, "nothing runs before it is opened"
    assert not hardware.armed
    assert hardware.open() == (
        "the hardware watchdog i6300ESB timer (/dev/watchdog0) resets the machine 10 s after its last feeding",
        "info",
    )
    assert device.running
    assert hardware.armed
    assert (device.seconds, hardware.timeout_s) == (10, 10)
    hardware.feed()
    assert device.fed == 2


def test_a_clean_close_stops_it(device: FakeDevice, watchdog: Any) -> None:
    hardware = watchdog()
    hardware.open()
    text, level = hardware.close(clean=True)
    assert not device.running
    assert not hardware.armed
    assert text.endswith("is stopped")
    assert level == "info"
    assert hardware.close(clean=True) == ("", "")


def test_any_other_close_leaves_it_running(device: FakeDevice, watchdog: Any) -> None:
    hardware = watchdog()
    hardware.open()
    text, level = hardware.close(clean=False)
    assert device.running
    assert "resets the machine within 10 s" in text
    assert level == "warning"


def test_the_end_of_the_process_leaves_it_running(device: FakeDevice, watchdog: Any) -> None:
    watchdog().open()
    device.close()  # what the kernel does for a process that was killed
    assert device.running


def test_a_time_that_the_driver_made_shorter_is_refused_and_it_is_stopped(
    device: FakeDevice, watchdog: Any
) -> None:
    device.longest_s = 8
    with pytest.raises(WatchdogError, match=r"took a time-out of 8 s, expected the 10 s of safety\.watchdog"):
        watchdog().open()
    assert not device.running


def test_a_time_that_the_driver_made_longer_is_used(device: FakeDevice, watchdog: Any) -> None:
    device.failing["set_timeout"] = errno.EOPNOTSUPP
    hardware = watchdog()
    hardware.open()
    assert hardware.timeout_s == 60


@pytest.mark.parametrize(
    ("call", "number", "text"),
    [
        ("open", errno.ENOENT, "/dev/watchdog0 cannot be opened: No such file or directory; load the driver"),
        ("open", errno.EBUSY, "cannot be opened: Device or resource busy; another program feeds it"),
        ("open", errno.EACCES, "cannot be opened: Permission denied; give the daemon's user the device"),
        ("support", errno.ENOTTY, "this is no watchdog"),
        ("set_timeout", errno.EINVAL, "cannot be set to 10 s and fed: Invalid argument; its driver does not take"),
        ("keepalive", errno.EOPNOTSUPP, "cannot be set to 10 s and fed: Operation not supported"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left_running(
    device: FakeDevice, watchdog: Any, call: str, number: int, text: str
) -> None:
    device.failing[call] = number
    with pytest.raises(WatchdogError, match=text):
        watchdog().open()
    assert not device.running


def test_a_driver_without_the_magic_close_is_warned_of(device: FakeDevice, watchdog: Any) -> None:
    device.options = 0
    text, level = watchdog().open()
    assert "its driver stops it when the daemon dies" in text
    assert level == "warning"


def test_nowayout_is_told_at_the_start_and_at_the_end(watchdog: Any, tmp_path: Path) -> None:
    (tmp_path / "watchdog0").mkdir()
    (tmp_path / "watchdog0/nowayout").write_text("1\n")
    hardware = watchdog()
    assert "a stop of the daemon ends with a reset" in hardware.open()[0]
    assert hardware.close(clean=True)[1] == "warning"


def test_nowayout_is_told_when_it_was_refused(device: FakeDevice, watchdog: Any, tmp_path: Path) -> None:
    (tmp_path / "watchdog0").mkdir()
    (tmp_path / "watchdog0/nowayout").write_text("1\n")
    device.longest_s = 8
    with pytest.raises(WatchdogError, match="it resets the machine within 10 s"):
        watchdog().open()


def test_a_feeding_that_fails_is_an_error(device: FakeDevice, watchdog: Any) -> None:
    hardware = watchdog()
    hardware.open()
    device.failing["keepalive"] = errno.ENODEV
    with pytest.raises(OSError, match="No such device"):
        hardware.feed()


def test_the_service_manager_is_told_and_never_disturbs() -> None:
    told: list[str] = []
    watchdog = ServiceWatchdog(lambda: told.append("alive"), 2.0)
    watchdog.open()
    watchdog.feed()
    assert told == ["alive"]
    assert watchdog.close(clean=True) == ("", "")

    def fail() -> None:
        raise RuntimeError("the socket is full")

    ServiceWatchdog(fail, 2.0).feed()


def test_the_entry_in_sysfs_has_the_name_of_the_device(tmp_path: Path) -> None:
    (tmp_path / "robot-watchdog").symlink_to("/dev/watchdog3")
    assert sysfs_entry(PATH) == Path("/sys/class/watchdog/watchdog0")
    assert sysfs_entry(Path("/dev/watchdog")) == Path("/sys/class/watchdog/watchdog0")
    assert sysfs_entry(tmp_path / "robot-watchdog") == Path("/sys/class/watchdog/watchdog3")


def test_what_is_told_is_whole(device: FakeDevice, watchdog: Any, tmp_path: Path) -> None:
    name = "the hardware watchdog i6300ESB timer (/dev/watchdog0)"
    hardware = watchdog()
    assert hardware.name == "the hardware watchdog /dev/watchdog0", "its driver's name is known once it is open"
    hardware.feed()
    assert device.fed == 0, "one that is not open is not fed"
    hardware.open()
    assert hardware.close(clean=True) == (f"{name} is stopped", "info")
    hardware.open()
    assert hardware.close(clean=False) == (
        f"{name} is left running: it resets the machine within 10 s, unless the daemon is started again before",
        "warning",
    )
    (tmp_path / "watchdog0").mkdir()
    (tmp_path / "watchdog0/nowayout").write_text("0\n")
    assert hardware.open() == (f"{name} resets the machine 10 s after its last feeding", "info")
    (tmp_path / "watchdog0/nowayout").write_text("1\n")
    assert watchdog().open() == (
        f"{name} resets the machine 10 s after its last feeding; it cannot be stopped (nowayout): "
        "a stop of the daemon ends with a reset, too",
        "info",
    )
    device.options = 0
    assert watchdog().open() == (
        f"{name} resets the machine 10 s after its last feeding; but its driver stops it when the daemon dies: "
        "a crash is not noticed by it",
        "warning",
    )


def test_a_device_that_fails_while_it_is_closed_counts_as_running(device: FakeDevice, watchdog: Any) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    hardware = watchdog()
    hardware.open()
    device.allow_stop = fail  # type: ignore[method-assign]
    device.close = fail  # type: ignore[method-assign]
    assert hardware.close(clean=True)[1] == "warning"
    assert not hardware.armed, "it is not fed any more"


def test_an_error_without_a_number_is_told_in_its_own_words(device: FakeDevice, watchdog: Any) -> None:
    def fail(seconds: int) -> None:
        raise OSError("no words of the kernel")

    device.set_timeout = fail  # type: ignore[method-assign]
    with pytest.raises(
        WatchdogError, match=r"cannot be set to 10 s and fed: no words of the kernel; see docs/safety\.md$"
    ):
        watchdog().open()


def test_the_service_manager_s_is_always_armed() -> None:
    watchdog = ServiceWatchdog(list, 2.0)
    assert watchdog.armed
    assert watchdog.timeout_s == 2.0
    text = "the service manager's watchdog restarts the daemon 2 s after its last feeding"
    assert watchdog.open() == (text, "info")


# The character device ---------------------------------------------------------------------------------------


def test_the_requests_have_the_kernel_s_numbers() -> None:
    def number(direction: int, request: int, size: int) -> int:
        return direction << 30 | size << 16 | ord("W") << 8 | request  # asm-generic/ioctl.h; 2: read, 3: both

    assert number(2, 0, struct.calcsize("II32s")) == safety.watchdog.GETSUPPORT
    assert number(2, 5, 4) == safety.watchdog.KEEPALIVE
    assert number(3, 6, 4) == safety.watchdog.SETTIMEOUT
    assert number(2, 7, 4) == safety.watchdog.GETTIMEOUT


def test_answers_of_the_kernel_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bytes]] = []
    answers = {
        safety.watchdog.GETSUPPORT: struct.pack("II32s", 0x8180, 0, b"i6300ESB timer"),
        safety.watchdog.GETTIMEOUT: struct.pack("i", 30),
    }

    def ioctl(fd: int, request: int, argument: bytes) -> bytes:
        asked.append((request, argument))
        return answers.get(request, argument)

    monkeypatch.setattr(safety.watchdog, "ioctl", ioctl)
    device = CharDevice(Path("/dev/null"))
    assert device.support() == (0x8180, "i6300ESB timer")
    assert device.timeout() == 30
    device.set_timeout(12)
    assert asked[-1] == (safety.watchdog.SETTIMEOUT, struct.pack("i", 12))
    device.keepalive()
    assert asked[-1][0] == safety.watchdog.KEEPALIVE
    device.close()


def test_a_name_of_a_driver_that_is_no_text_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = struct.pack("II32s", 0, 0, b"\xff timer")
    monkeypatch.setattr(safety.watchdog, "ioctl", lambda fd, request, argument: answer)
    device = CharDevice(Path("/dev/null"))
    assert device.support() == (0, "\N{REPLACEMENT CHARACTER} timer")
    device.close()


def test_the_device_is_open_for_writing_and_stopped_by_the_magic_v(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, bytes]] = []
    device = CharDevice(Path("/dev/null"))
    assert fcntl(device._fd, F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    assert not os.get_inheritable(device._fd), "a child would keep it open"
    monkeypatch.setattr(safety.watchdog.os, "write", lambda fd, text: written.append((fd, text)))
    device.allow_stop()
    assert written == [(device._fd, b"V")]
    device.close()


def test_what_is_no_watchdog_is_refused_and_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("keep me")
    for path in (file, Path("/dev/null")):
        with pytest.raises(WatchdogError, match="Inappropriate ioctl for device; this is no watchdog"):
            HardwareWatchdog(path, 10).open()
    assert file.read_text() == "keep me"
    with pytest.raises(WatchdogError, match="No such file"):
        HardwareWatchdog(tmp_path / "none", 10).open()


@pytest.mark.skipif("REFLEXD_TEST_WATCHDOG" not in os.environ, reason="REFLEXD_TEST_WATCHDOG names no device")
def test_a_real_one_is_armed_fed_and_stopped() -> None:
    """Starts a real watchdog: whoever sets the variable wants that; the machine may be reset."""
    hardware = HardwareWatchdog(Path(os.environ["REFLEXD_TEST_WATCHDOG"]), 20)
    text, _ = hardware.open()
    assert "20 s after" in text
    hardware.feed()
    with pytest.raises(WatchdogError, match="busy"):
        HardwareWatchdog(Path(os.environ["REFLEXD_TEST_WATCHDOG"]), 20).open()
    assert hardware.close(clean=True)[1] == "info"
