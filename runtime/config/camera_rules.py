"""What must hold of `[cameras]`: files, interpreters, packages and the emulator are there."""

from __future__ import annotations

from importlib.util import find_spec

from runtime.config.cameras import Camera, EmulatedCamera, VideoCamera
from runtime.config.draft import Draft
from runtime.config.paths import Place, interpreter
from runtime.config.words import found

_PACKAGES = {
    "v4l2": (("linuxpy", "linuxpy"), ("av", "PyAV")),
    "gstreamer": (("gi", "PyGObject (gi)"),),
    "video": (("av", "PyAV"),),
    "emulated": (("mujoco", "mujoco"),),
}
_EXTRA = {"v4l2": "cameras", "video": "cameras", "emulated": "sim"}


def apply(draft: Draft) -> None:
    """Report every mistake, and make paths absolute."""
    for name, camera in draft.cameras.items():
        if camera is None:
            continue
        place: Place = ("cameras", name)
        update: dict[str, object] = {}
        if camera.python is not None:
            update["python"] = interpreter(draft.path, camera.python)
            if update["python"] is None:
                draft.report(
                    (*place, "python"),
                    f"found {found(camera.python)}, which is no program that can be run, expected a Python "
                    "interpreter; give its path or a name in PATH",
                )
        else:
            _packages(draft, place, camera)
        if isinstance(camera, VideoCamera):
            update["file"] = draft.existing_file((*place, "file"), camera.file, "a video")
        if isinstance(camera, EmulatedCamera) and "emulated" not in draft.table:
            draft.report(
                (*place, "type"),
                'found "emulated", but there is no [emulated] whose robot it could render; add it',
            )
        draft.cameras[name] = camera.model_copy(update=update)


def _packages(draft: Draft, place: Place, camera: Camera) -> None:
    """What the camera's process imports, where that is the daemon's own interpreter."""
    missing = [words for module, words in _PACKAGES[camera.type] if find_spec(module) is None]
    if not missing:
        return
    extra = _EXTRA.get(camera.type)
    advice = (
        f"install the extra `{extra}` (pip install 'reflexd[{extra}]')"
        if extra
        else 'name the interpreter that has it: python = "/usr/bin/python3" on most systems'
    )
    draft.report((*place, "type"), f"found no package {' and '.join(missing)}, which this type needs; {advice}")
