"""A camera of the kernel needs its drop-in and is recorded; pulled while the robot runs, it comes back."""

from __future__ import annotations

import base64
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.rig.harness import page, residue
from tests.rig.harness.recordings import pictures, ticks
from tests.rig.harness.rig import Rig

pytestmark = [pytest.mark.virtual, pytest.mark.long(2)]
READY = "/var/lib/reflexd/rig/recordings/ready"
DRIVER = "/sys/bus/platform/drivers/vivid"
WIDTH, HEIGHT, RATE = 320, 180, 5.0
"""The smallest of the driver's webcam."""
CONFIG = f"""
[cameras.front]
type = "v4l2"
device = "/dev/v4l/by-path/platform-vivid.0-video-index0"
width = {WIDTH}
height = {HEIGHT}
rate = {RATE}

[recording]
segment_minutes = 0.05

[recording.video]
codec = "jpeg"
"""
BARS = 191 * np.array([[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
"""R, G, B of the bars in the driver's picture, from the left: 75 % of white, yellow, cyan, and so on."""
WAYS = 30
"""So far a colour may be off, of 255: it goes through YUV twice, and JPEG."""


def camera(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = rig.status()["cameras"][0]
    return found


def well(rig: Rig) -> None:
    rig.wait(lambda: camera(rig)["state"] == "well", what="the camera is well")
    before = camera(rig)["frames"]
    rig.wait(lambda: camera(rig)["frames"] > before + 3, what="frames come")


def with_camera(rig: Rig) -> None:
    """One that the configuration names, and the service may not open yet."""
    rig.sh("modprobe vivid n_devs=1 node_types=1 num_inputs=1 && udevadm settle")
    rig.sh(f"cat >> /etc/reflexd/rig.toml <<'END'\n{CONFIG}\nEND")
    rig.restart()


@pytest.mark.prepared(how=with_camera)
def test_camera(rig: Rig, results: Path) -> None:
    rig.wait(lambda: camera(rig)["state"] == "lost", what="the camera is not had")
    assert "Permission denied" in camera(rig)["about"], camera(rig)
    rig.safe_after_start()

    drop_in = page.commands("A real robot", 0).replace("cpus.conf", "cameras.conf").replace("NAME", "rig")
    rig.sh(drop_in)
    rig.restart()
    well(rig)
    assert "vivid" in camera(rig)["about"], camera(rig)
    shown = rig.ctl("status")
    assert "front: well" in shown.out, shown
    rig.policy_ready()
    rig.before = residue.look(rig)  # with a camera, there is more of everything
    rig.run_policy()

    pull(rig)
    rig.sh(f"echo vivid.0 > {DRIVER}/bind")
    well(rig)
    assert rig.event("camera.back"), rig.events()
    assert rig.mode() == "AUTO"
    rig.request("disarm")
    whole = segments(rig)
    rig.wait(lambda: segments(rig) - whole, what="a segment ends")
    recorded(rig, results)


def pull(rig: Rig) -> None:
    """The driver lets go of its device, as that of a USB camera does when the plug is pulled."""
    assert not rig.event("camera.lost"), rig.events()
    rig.sh(f"echo vivid.0 > {DRIVER}/unbind")
    rig.wait(lambda: camera(rig)["state"] == "lost", what="the camera is lost")
    lost = rig.event("camera.lost")
    assert lost
    assert "gone" in lost["message"], lost
    before = rig.status()["tick"]
    rig.wait(lambda: rig.status()["tick"] > before + 25, what="control goes on")
    assert all(rig.moving())
    assert rig.mode() == "AUTO"


def segments(rig: Rig) -> set[str]:
    """The whole ones."""
    return set(rig.sh(f"find {READY} -name '*.mcap' -printf '%f\\n'").split())


def recorded(rig: Rig, results: Path) -> None:
    """What the camera saw is in the whole segments, at its rate and in the clock of the ticks."""
    packed = rig.sh(f"tar -C {READY} -cz . | base64 -w0", 120.0)
    (ready := results / "ready").mkdir()
    subprocess.run(["tar", "-xz", "-C", ready], input=base64.b64decode(packed), check=True)
    steps_s: list[float] = []
    for path in sorted(ready.glob("*/*.mcap")):
        of_ticks, frames = [mono_ns for _, mono_ns in ticks(path)], pictures(path, "front")
        for mono_ns, picture in frames:
            assert of_ticks[0] - 1e9 < mono_ns < of_ticks[-1] + 1e9, f"{path}: not the clock of the ticks"
            assert picture.shape == (HEIGHT, WIDTH, 3), picture.shape
            assert np.abs(bars(picture) - BARS).max() < WAYS, bars(picture)
        steps_s += [(later - sooner) / 1e9 for (sooner, _), (later, _) in pairwise(frames)]
    assert len(steps_s) > 10, steps_s
    assert min(steps_s) > 0, steps_s
    assert 0.5 / RATE < np.median(steps_s) < 2 / RATE, steps_s
    rig.note(f"{len(steps_s)} frames recorded, {np.median(steps_s) * 1e3:.0f} ms apart (median)")


def bars(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The colours of eight bars, away from the text at the top and from their edges."""
    columns = np.arange(1, 16, 2) * WIDTH // 16
    colours: npt.NDArray[np.float64] = np.stack(
        [picture[-20:-10, at - 5 : at + 5].mean(axis=(0, 1)) for at in columns]
    )
    return colours
