"""`reflexd check` of cameras and of policies that see."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config.cameras import EmulatedCamera
from runtime.config.errors import ConfigError
from runtime.config.load import load

CONFIG = Path(__file__).parents[2] / "configs" / "demo.toml"
TOP = {"type": "emulated", "camera": "view", "width": 64, "height": 48, "rate": 30.0}
SEES = {"source": "camera.top", "width": 32, "height": 32}


def check(tmp_path, observation=(), cameras=None, **more):
    terms = [{"source": "joint.position"}, *observation]
    keys = {"cameras": {"top": TOP} if cameras is None else cameras, "policy.observation": terms, **more}
    return load(CONFIG, run_dir=tmp_path, overrides=keys)


def test_a_camera_and_a_policy_that_sees(tmp_path):
    config = check(tmp_path, [SEES, {"source": "camera.top.age"}])
    assert isinstance(config.cameras["top"], EmulatedCamera)
    assert config.cameras["top"].frozen == 0, "a robot that stands renders the same picture"
    picture, age = config.policy.observation[1:]
    assert (picture.is_picture, picture.camera, age.is_picture, age.camera) == (True, "top", False, "top")


@pytest.mark.parametrize(
    ("cameras", "words"),
    [
        ({"top": {**TOP, "type": "usb"}}, r'cameras\.top\.type: found "usb", expected'),
        ({"top": {**TOP, "width": 0}}, r"cameras\.top\.width"),
        ({"top": {**TOP, "speed": 1}}, r"cameras\.top\.speed"),
        ({"top": {**TOP, "python": "no/such"}}, r"cameras\.top\.python: .* no program that can be run"),
        ({"top": {k: v for k, v in TOP.items() if k != "rate"}}, r"cameras\.top\.rate"),
        ({"a b": TOP}, r"a name with other signs"),
        ({"top": 3}, r"write \[cameras\.NAME\]"),
        (
            {"top": {"type": "video", "file": "none.mp4", "width": 8, "height": 8, "rate": 5.0}},
            r"cameras\.top\.file: found no file at .*none\.mp4, expected a video",
        ),
        (
            {
                "top": {
                    "type": "v4l2",
                    "device": "/dev/video0",
                    "pixel_format": "H264",
                    **{k: TOP[k] for k in ("width", "height", "rate")},
                }
            },
            r"cameras\.top\.pixel_format",
        ),
    ],
)
def test_a_camera_with_a_mistake(tmp_path, cameras, words):
    with pytest.raises(ConfigError, match=words):
        check(tmp_path, cameras=cameras)


@pytest.mark.parametrize(
    ("term", "more", "words"),
    [
        (
            {"source": "camera.front"},
            {},
            r'observation\[1\]\.source: found the unknown camera "front", expected "?top',
        ),
        ({"source": "camera.front.age"}, {}, r"unknown camera"),
        ({"source": "camera.top.speed"}, {}, r"camera\.NAME\.age"),
        ({"source": "joint.velocity", "width": 3}, {}, r"`width` goes with a picture"),
        ({**SEES, "scale": 0.1}, {}, r'`scale` goes with dtype = "float32" only'),
        (
            {**SEES, "dtype": "float32", "scale": [1.0, 2.0]},
            {},
            r"scale has 2 numbers, expected one, or one for each of 3",
        ),
        ({**SEES, "clip": 1.0}, {}, r"`clip` does not go with a picture"),
        (SEES, {"policy.backend": "tensorrt"}, r"the backend tensorrt takes none; expected one of .*onnx"),
        (
            SEES,
            {
                "policy.backend": "openpi",
                "policy.model": None,
                "policy.options": {"url": "ws://a:1", "keys": {"image": {"picture": "front"}}},
            },
            r'policy\.options\.keys: image: found the picture "front", expected',
        ),
        (SEES, {"degraded.camera": {"front": {}}}, r'found the unknown camera "front"'),
    ],
)
def test_a_policy_that_cannot_see(tmp_path, term, more, words):
    with pytest.raises(ConfigError, match=words):
        check(tmp_path, [term], **more)


def test_two_pictures_for_one_input(tmp_path):
    with pytest.raises(
        ConfigError, match=r'observation\[2\]\.input: found "top", which observation\[1\] has already'
    ):
        check(tmp_path, [SEES, SEES])


def test_a_missing_package(tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.config.camera_rules.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"found no package mujoco, which this type needs; install the extra `sim`"
    ):
        check(tmp_path)
