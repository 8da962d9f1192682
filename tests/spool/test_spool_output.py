from __future__ import annotations

from typing import Any

import pytest

from runtime.cli.spool_output import duration, size, spool

NOW = 2_000_000_000 * 10**9
TOLD: dict[str, Any] = {
    "ready": {"safety": {"segments": 2, "bytes": 3_000_000, "oldest_ns": NOW - 7200 * 10**9}},
    "sent": {},
    "lost": {},
    "lost_why": {},
    "open_bytes": 1234,
    "trouble": [],
    "upload": {
        "segments": 2,
        "bytes": 2_000_000,
        "now": [{"segment": "arm-1", "bytes": 2_000_000, "sent": 1_000_000}],
        "rate_bps": 100_000,
        "eta_s": 20,
        "restricted": True,
        "trouble": "arm-1 is not sent: 503",
    },
}


def test_what_waits_how_old_how_fast_and_when_it_is_done() -> None:
    assert spool(TOLD, NOW) == [
        ("being written", "1.23 kB"),
        ("waiting", "safety: 2 segments, 3 MB, the oldest 2 h 00 min old"),
        ("upload", "2 segments to go, 2 MB, 100 kB/s, done in 20 s"),
        ("upload", "[###############---------------] 50% of arm-1"),
        ("upload", "only what goes always: the link is metered, or these are quiet hours"),
        ("upload", "TROUBLE: arm-1 is not sent: 503"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.4, "59 s"), (61, "1 min"), (3600 * 5, "5 h 00 min"), (86400 * 9, "9 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (12.3456e9, "12.35 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
