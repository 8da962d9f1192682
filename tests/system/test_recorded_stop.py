"""What a recording says about a stop: the seconds before it, what was seen, the seconds after it."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from runtime.control.modes import Mode
from runtime.spool.layout import find

pytestmark = pytest.mark.system

AROUND_NS = 10_000_000_000


def read(path: Path, wall_ns: int) -> tuple[list[Any], dict[str, Any]]:
    """The ticks around a time as docs/recording.md cuts them out, and all events by name."""
    start, end = wall_ns - AROUND_NS, wall_ns + AROUND_NS
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        found = reader.iter_decoded_messages(topics=["/ticks"], starting_at=start, ending_at=end)
        ticks = [message[3] for message in found]
        logs = [json.loads(message.data) for _, _, message in reader.iter_messages(topics=["/events"])]
    return ticks, {event["name"]: event for event in logs}


def test_ten_seconds_before_and_after_a_stop_are_recorded(rig: Any) -> None:
    rig.run_policy()
    time.sleep(AROUND_NS / 1e9)
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    time.sleep(AROUND_NS / 1e9 + 0.5)
    path = Path(rig.status()["recording"]["path"])
    [told] = [event for event in rig.told() if event["name"] == "safety.torque_off"]
    rig.daemon.close()

    ticks, events = read(find(path), told["wall_ns"])
    stop = events["safety.torque_off"]
    assert stop["mono_ns"] == told["mono_ns"]
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
    period_ns = 1e9 / rig.config.control.rate
    longest = max(b.mono_ns - a.mono_ns for a, b in itertools.pairwise(ticks)) + 2 * period_ns
    assert before[-1].mono_ns - before[0].mono_ns > AROUND_NS - longest
    assert after[-1].mono_ns - stop["mono_ns"] > AROUND_NS - longest
