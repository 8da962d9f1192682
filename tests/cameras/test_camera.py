"""A camera with its real process: frames come, and whatever ends them is noticed and passes."""

import os
import signal
import sys
import time

import numpy as np
import pytest

from runtime.cameras.camera import FIRST_FRAME_S, _Judge
from runtime.policy.worker.frames import FrameReader
from tests.cameras.conftest import HEIGHT, WIDTH, film


async def test_frames_come_with_number_and_time(bench, tmp_path):
    b = bench(film(tmp_path / "film.mkv", [40, 80, 120, 160]))
    before_ns = time.monotonic_ns()
    assert b.camera.stamp_ns == 0
    await b.until(lambda: b.camera.frames > 6, "a film that starts anew")
    assert b.names == ["camera.ready"]
    assert "film.mkv, ffv1, 50 Hz" in b.told[0].message
    frame = FrameReader(b.camera.descriptor).latest()
    assert frame.pixels.shape == (HEIGHT, WIDTH, 3)
    assert frame.pixels[5, 5].tolist() in ([40] * 3, [80] * 3, [120] * 3, [160] * 3)
    assert before_ns < frame.mono_ns <= time.monotonic_ns()
    status = b.camera.status(time.monotonic_ns())
    assert status["state"] == "well"
    assert status["frames"] >= frame.number


async def test_a_process_that_is_killed_is_replaced_and_numbers_go_on(bench, tmp_path):
    b = bench(film(tmp_path / "film.mkv", [40, 80]))
    await b.until(lambda: b.camera.frames, "a frame")
    before, pid = b.camera.frames, b.camera.pid
    os.kill(pid, signal.SIGKILL)
    await b.until(lambda: b.names == ["camera.ready", "camera.lost", "camera.back"], "its end and its return")
    assert "killed by signal 9" in b.told[1].message
    assert b.camera.frames > before
    assert b.camera.pid != pid
    assert b.camera.restarts == 1


async def test_a_camera_that_hangs_stalls(bench, tmp_path):
    b = bench(film(tmp_path / "film.mkv", [40, 80]))
    await b.until(lambda: b.camera.frames, "a frame")
    os.kill(b.camera.pid, signal.SIGSTOP)
    await b.until(lambda: "camera.stalled" in b.names, "a stall")
    stamp_ns = b.camera.stamp_ns
    os.kill(b.camera.pid, signal.SIGCONT)
    await b.until(lambda: b.names[-1] == "camera.back", "its return")
    assert b.camera.stamp_ns > stamp_ns


async def test_a_hopeless_stall_is_ended(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.cameras.camera._HOPELESS_S", 0.1)
    b = bench(film(tmp_path / "film.mkv", [40, 80]))
    await b.until(lambda: b.camera.frames, "a frame")
    os.kill(b.camera.pid, signal.SIGSTOP)
    await b.until(lambda: b.names[-2:] == ["camera.lost", "camera.back"], "another process")
    assert "no frame for" in b.told[-2].message


@pytest.mark.parametrize(
    ("shades", "keys", "fault"),
    [([90, 90], {"frozen": 0.2}, "frozen"), ([0, 1, 2, 0], {"black": 0.2}, "black")],
)
async def test_pictures_that_cannot_be_believed(bench, tmp_path, shades, keys, fault):
    b = bench(film(tmp_path / "film.mkv", shades), **keys)
    await b.until(lambda: f"camera.{fault}" in b.names, fault)
    stamp_ns, frames = b.camera.stamp_ns, b.camera.frames
    await b.until(lambda: b.camera.frames > frames + 3, "more frames")
    assert b.camera.stamp_ns == stamp_ns, "they come, and none of them counts"
    assert b.camera.status(time.monotonic_ns())["state"] == fault


async def test_a_camera_that_is_not_there_is_told_once(bench, tmp_path):
    b = bench(tmp_path / "film.mkv")
    await b.until(lambda: b.camera.restarts > 1, "some attempts")
    assert b.names == ["camera.lost"]
    assert "film.mkv cannot be played" in b.told[0].message
    film(tmp_path / "film.mkv", [40, 80])
    await b.until(lambda: b.names == ["camera.lost", "camera.back"], "its return")


@pytest.mark.parametrize(
    ("keys", "words"),
    [({"rate": 30}, "50 frames per second, expected 30"), ({"python": "/bin/true"}, "ended with exit code 0")],
)
async def test_a_camera_that_cannot_be_had_says_why(bench, tmp_path, keys, words):
    b = bench(film(tmp_path / "film.mkv", [40]), **keys)
    await b.until(lambda: b.told, "a reason")
    assert words in b.told[0].message


async def test_another_interpreter_lacks_a_package(bench, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    b = bench(film(tmp_path / "film.mkv", [40]), python=str(bare))
    await b.until(lambda: b.told, "a reason")
    assert "cannot import numpy" in b.told[0].message


async def test_the_process_ends_with_the_camera(bench, tmp_path):
    b = bench(film(tmp_path / "film.mkv", [40, 80]))
    await b.until(lambda: b.camera.frames, "a frame")
    pid = b.camera.pid
    await b.camera.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


MS = 1_000_000


def test_when_frames_are_missing():
    judge = _Judge(0, 7, 0.2)
    assert not judge.look(7, 100 * MS)
    assert not judge.number
    assert judge.look(8, 1000 * MS), "the first one"
    assert not judge.look(9, 1100 * MS)
    assert not judge.look(9, 1299 * MS)
    assert not judge.stalled
    judge.look(9, 1301 * MS)
    assert judge.stalled
    assert not judge.hopeless
    judge.look(9, 5000 * MS)
    assert judge.hopeless
    judge.look(10, 5001 * MS)
    assert (judge.stalled, judge.hopeless) == (False, False)


def test_when_no_frame_ever_comes():
    judge = _Judge(0, 7, 0.2)
    judge.look(7, round(FIRST_FRAME_S * 1e9))
    assert not judge.hopeless
    judge.look(7, round(FIRST_FRAME_S * 1e9) + 1)
    assert judge.hopeless
    assert np.isclose(judge.waited_s, FIRST_FRAME_S)
