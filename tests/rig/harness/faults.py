"""Ways to break a robot's computer that several scenarios use."""

from __future__ import annotations

from tests.rig.harness.rig import UNIT, Rig
from tests.rig.harness.target import PYTHON

_DATA = "/var/lib/reflexd/rig"
_IMAGE = "/var/tmp/disk.img"
_DISK = "rig-data"


def drop_in(rig: Rig, text: str, place: str = "/run/systemd/system", unit: str = UNIT) -> None:
    """Change lines of a unit. In /run until the machine is booted again, in /etc for longer."""
    rig.sh(f"mkdir -p {place}/{unit}.service.d && cat > {place}/{unit}.service.d/rig.conf <<'END'\n{text}\nEND")
    rig.sh("systemctl daemon-reload")


def faulty_daemon(rig: Rig) -> None:
    """Run the daemon with its loop breakable, see `guest/faulty_daemon.py`."""
    command = f"{PYTHON} /opt/rig/guest/faulty_daemon.py run /etc/reflexd/rig.toml"
    drop_in(rig, f"[Service]\nExecStart=\nExecStart={command}")
    rig.sh("echo 0 > /run/rig/fault")
    rig.restart()


def patient_systemd(rig: Rig) -> None:
    """Have systemd wait for a minute before it starts another daemon in place of a frozen one."""
    drop_in(rig, "[Service]\nWatchdogSec=60")
    rig.restart()


def healthy_daemon(rig: Rig) -> None:
    """The installed unit again, as it is."""
    rig.sh(f"rm -rf /run/rig/fault /run/systemd/system/{UNIT}.service.d && systemctl daemon-reload")
    rig.restart()


def break_loop(rig: Rig, kind: str, seconds: float) -> None:
    """`block`, `busy` or `freeze`, for so long."""
    number = {"block": "USR1", "busy": "USR2", "freeze": "RTMIN"}[kind]
    rig.sh(f"echo {seconds} > /run/rig/fault && kill -{number} {rig.main_pid()}")


def small_disk(rig: Rig) -> None:
    """The daemon's data on a disk of their own, of 16 MB."""
    rig.sh(
        f"""set -e
        truncate -s 16M {_IMAGE} && mke2fs -q -t ext4 {_IMAGE}
        loop=$(losetup --find --show {_IMAGE})
        dmsetup create {_DISK} --table "0 $(blockdev --getsz $loop) linear $loop 0"
        systemctl stop {UNIT} && mount /dev/mapper/{_DISK} {_DATA} && chown reflexd:reflexd {_DATA}
        """,
        90.0,
    )
    rig.restart()


def slow_disk(rig: Rig, delay_ms: int) -> None:
    """A write to that disk takes so long from now on."""
    rig.sh(
        f"""set -e
        set -- $(dmsetup table {_DISK})
        dmsetup load {_DISK} --table "0 $2 delay $4 0 0 $4 0 {delay_ms}"
        dmsetup suspend --nolockfs {_DISK} && dmsetup resume {_DISK}
        """
    )


def usual_disk(rig: Rig) -> None:
    """The daemon's data where they were."""
    rig.sh(
        f"""set -e
        systemctl stop {UNIT} && umount {_DATA}
        dmsetup remove {_DISK} && losetup -d $(losetup -n -O NAME -j {_IMAGE}) && rm {_IMAGE}
        """,
        120.0,
    )
    rig.restart()
