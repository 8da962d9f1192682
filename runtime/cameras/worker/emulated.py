"""A camera that renders the emulated robot, in a process of its own and without a display.

The emulator is asked for the pose once for each frame, which takes it some ten microseconds; drawing costs this
process alone. Runs in the camera's interpreter: Python 3.9, numpy, the standard library and mujoco.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, Mapping, Optional

from runtime.cameras.worker.source import PATIENCE_S, CameraError, Captured, need

_ANSWER_S = 2.0


class EmulatedSource:
    """One camera of the emulator's model. The emulator may be told to have it fail: op `camera`."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Raises CameraError."""
        self._name = settings["name"]
        self._period_ns = round(1e9 / settings["rate"])
        self._due_ns = time.monotonic_ns()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_ANSWER_S)
        self._where = settings["control"]
        try:
            self._socket.connect(self._where)
        except OSError as error:
            raise CameraError(f"no emulated robot at {self._where}: {error.strerror}") from error
        self._lines = self._socket.makefile("rb")
        self._view = View(settings["model"], settings["camera"], settings["width"], settings["height"])
        self.about = f"camera {settings['camera']} of {settings['model']}"

    def read(self) -> Optional[Captured]:
        """As of a `Source`."""
        now_ns = time.monotonic_ns()
        if self._due_ns > now_ns:
            time.sleep(min((self._due_ns - now_ns) / 1e9, PATIENCE_S))
            if self._due_ns > time.monotonic_ns():
                return None
        self._due_ns = max(self._due_ns + self._period_ns, time.monotonic_ns())
        pose = self._ask()
        fault = pose["fault"]
        if fault == "lost":
            raise CameraError("unplugged")
        if fault == "stalled":
            return None
        if fault != "frozen":
            self._view.draw(pose["qpos"])
        pixels = self._view.pixels if fault != "black" else self._view.pixels * 0
        return Captured(pose["mono_ns"], pixels)

    def close(self) -> None:
        """As of a `Source`."""
        self._lines.close()
        self._socket.close()
        self._view.close()

    def _ask(self) -> Any:
        try:
            self._socket.sendall(json.dumps({"op": "pose", "camera": self._name}).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise CameraError(f"the emulated robot at {self._where} does not answer: {error}") from error
        if not line:
            raise CameraError(f"the emulated robot at {self._where} has ended")
        return json.loads(line)


class View:
    """What one camera of a MuJoCo model sees of a pose."""

    def __init__(self, model: str, camera: str, width: int, height: int) -> None:
        """Raises CameraError for a model without such a camera, or when nothing can be rendered here."""
        # No display, and one core: the emulator and the control loop have the others.
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("LP_NUM_THREADS", "1")
        mujoco = need("mujoco", "mujoco")
        self._mujoco = mujoco
        self._model = mujoco.MjModel.from_xml_path(model)
        known = [self._model.camera(place).name for place in range(self._model.ncam)]
        if camera not in known:
            raise CameraError(f"{model} has no camera {camera!r}; found {', '.join(known) or 'none'}")
        self._data = mujoco.MjData(self._model)
        self._camera = camera
        self._model.vis.global_.offwidth = max(width, self._model.vis.global_.offwidth)
        self._model.vis.global_.offheight = max(height, self._model.vis.global_.offheight)
        try:
            self._renderer = mujoco.Renderer(self._model, height, width)
        except Exception as error:  # whatever the system's OpenGL says
            raise CameraError(
                f"cannot render without a display ({error}); install libegl1 and Mesa's driver"
            ) from error
        # Shadows cost many times the rest where no GPU draws them.
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._renderer.update_scene(self._data, camera)
        self.pixels = self._renderer.render()
        """The newest picture, R, G, B, shape (height, width, 3)."""

    def draw(self, qpos: Any) -> None:
        """Have `pixels` show a configuration, shape (nq,)."""
        self._data.qpos[:] = qpos
        self._mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        self.pixels = self._renderer.render()

    def close(self) -> None:
        """Give the context back."""
        self._renderer.close()
