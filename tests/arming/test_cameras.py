"""Arming check: what the policy sees through shows what can be believed."""

from types import SimpleNamespace

import pytest

from runtime.arming.cameras import cameras

S = 1_000_000_000


def camera(fault="", stamp_ns=9 * S, about=""):
    return SimpleNamespace(
        name="top", fault=fault, stamp_ns=stamp_ns, about=about, options=SimpleNamespace(max_age=0.5)
    )


def test_a_camera_that_is_well():
    assert cameras([camera()], 9 * S + S // 2) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (camera("starting", 0), "camera top: starting"),
        (camera("lost", about="unplugged"), "camera top: lost: unplugged"),
        (camera("black", about="/dev/video0"), "camera top: black"),
        (camera(), "camera top: last frame 0.600 s ago, at most 0.5 s is allowed"),
    ],
)
def test_a_camera_that_is_not(found, words):
    assert cameras([found], round(9.6 * S)) == [words]
