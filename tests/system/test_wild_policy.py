"""A policy that asks for anything, with the real processes: the motors get what the limits allow."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from runtime.spool.layout import find

pytestmark = pytest.mark.system


def test_noise_stays_inside_the_envelope_and_the_estop_works(make_rig: Callable[..., Any]) -> None:
    rig = make_rig('policy.backend="noise:Noise"')
    rig.daemon.wait_policy()
    rig.daemon.request("arm")
    rig.daemon.request("start")
    rig.wait(lambda: rig.status()["policy"]["chunks"] > 20, what="twenty chunks of noise")
    assert rig.status()["mode"] == "AUTO"
    assert rig.status()["limits"]["acceleration"] > 0
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.emulator.ask("state")["power"] is False, what="drive-enable falls")
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    recording = rig.wait(lambda: rig.status()["recording"]["path"], what="it is recorded")
    rig.daemon.close()

    period, joint = 1 / rig.config.control.rate, rig.config.joints[0]
    with find(Path(recording)).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        ticks = [message[3] for message in reader.iter_decoded_messages(topics=["/ticks"]) if message[3].gate]
    for name in ("j0", "j1", "j2", "j3"):
        asked = [getattr(tick, name).plan for tick in ticks]
        sent = [getattr(tick, name).command for tick in ticks]
        assert max(map(abs, asked)) > joint.position_max, "it was wild"
        assert joint.position_min <= min(sent)
        assert max(sent) <= joint.position_max
        steps = [b - a for a, b in itertools.pairwise(sent)]
        assert max(map(abs, steps)) <= joint.velocity_max * period * (1 + 1e-6)
        changes = [abs(b - a) for a, b in itertools.pairwise(steps)]
        assert max(changes) <= joint.acceleration_max * period**2 * (1 + 1e-6)
