"""Ways to break a robot's computer that several scenarios use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.rig.harness import residue
from tests.rig.harness.rig import UNIT, Rig
from tests.rig.harness.target import PYTHON


def drop_in(rig: Rig, text: str, place: str = "/run/systemd/system") -> None:
    """Change lines of the daemon's unit. In /run until the machine is booted again, in /etc for longer."""
    rig.sh(f"mkdir -p {place}/{UNIT}.service.d && cat > {place}/{UNIT}.service.d/rig.conf <<'END'\n{text}\nEND")
    rig.sh("systemctl daemon-reload")


def faulty_daemon(rig: Rig) -> None:
    """Run the daemon with its loop breakable, see `guest/faulty_daemon.py`."""
    command = f"{PYTHON} /opt/rig/guest/faulty_daemon.py run /etc/reflexd/rig.toml"
    drop_in(rig, f"[Service]\nExecStart=\nExecStart={command}")
    rig.restart()
    if rig.target.disposable:  # nobody will put the other one back: this is how it was before
        rig.policy_ready()
        rig.before = residue.look(rig)


def break_loop(rig: Rig, kind: str, seconds: float) -> None:
    """`block`, `busy` or `freeze`, for so long."""
    number = {"block": "USR1", "busy": "USR2", "freeze": "RTMIN"}[kind]
    rig.sh(f"echo {seconds} > /run/rig/fault && kill -{number} {rig.main_pid()}")


def healthy_daemon(rig: Rig) -> None:
    """The installed unit again, as it is, where somebody will use it."""
    rig.sh("rm -f /run/rig/fault")
    if rig.target.disposable:
        return
    rig.sh(f"rm -rf /run/systemd/system/{UNIT}.service.d && systemctl daemon-reload")
    rig.restart()


@contextmanager
def data_disk(rig: Rig, size_mb: int, delay_ms: int = 0) -> Iterator[str]:
    """The daemon's data on a disk of its own; yields its block device. A write takes `delay_ms` longer.

    Afterwards the daemon has its data where they were, where somebody will use it.
    """
    image, folder = "/var/tmp/disk.img", "/var/lib/reflexd/rig"
    rig.sh(f"truncate -s {size_mb}M {image} && mke2fs -q -t ext4 {image}")
    device = rig.sh(f"losetup --find --show {image}").strip()
    loop = device
    if delay_ms:
        sectors = rig.sh(f"blockdev --getsz {loop}").strip()
        rig.sh(f"dmsetup create slow --table '0 {sectors} delay {loop} 0 0 {loop} 0 {delay_ms}'")
        device = "/dev/mapper/slow"
    rig.sh(f"systemctl stop {UNIT} && mount {device} {folder} && chown reflexd:reflexd {folder}", 90.0)
    rig.restart()
    try:
        yield device
    finally:
        if not rig.target.disposable:
            rig.sh(f"systemctl stop {UNIT} && umount {folder}", 120.0)
            if delay_ms:
                rig.sh("dmsetup remove slow")
            rig.sh(f"losetup -d {loop} && rm {image}")
            rig.restart()
