"""What a recording says about a stop: the seconds before it, what was seen, the seconds after it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from runtime.control.modes import Mode

pytestmark = pytest.mark.system

AROUND_NS = 10_000_000_000


def read(path: Path) -> tuple[list[Any], dict[str, Any]]:
    """All ticks, and the events by name."""
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        ticks = [message[3] for message in reader.iter_decoded_messages(topics=["/ticks"])]
        logs = [json.loads(message.data) for _, _, message in reader.iter_messages(topics=["/events"])]
    return ticks, {event["name"]: event for event in logs}


def test_ten_seconds_before_and_after_a_stop_are_recorded(rig: Any) -> None:
    rig.run_policy()
    time.sleep(AROUND_NS / 1e9)
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    time.sleep(AROUND_NS / 1e9 + 0.5)
    path = Path(rig.status()["recording"]["path"])
    rig.daemon.close()

    ticks, events = read(path)
    stop = events["safety.torque_off"]
    seen = stop["fields"]
    assert seen["causes"] == ["estop"]
    assert (seen["estop"], seen["armed"], seen["gate_open"], seen["loop"]) == ("pressed", True, True, "energised")
    assert 0 < seen["reaction_us"] <= seen["torque_off_us"]
    assert isinstance(seen["beat_age_ms"], float)

    before = [tick for tick in ticks if tick.tick <= seen["tick"]]
    after = [tick for tick in ticks if tick.mono_ns > stop["mono_ns"]]
    assert before[-1].tick == seen["tick"], "the tick that it names is there"
    assert (before[-1].mode, before[-1].gate) == (Mode.AUTO, True)
    assert after[0].mode == Mode.ESTOP
    assert not any(tick.gate for tick in after)
    assert before[-1].mono_ns - before[0].mono_ns > AROUND_NS
    assert after[-1].mono_ns - stop["mono_ns"] > AROUND_NS
