"""docs/control-socket.md: its example runs, and it knows every operation and every limit."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.link import protocol
from runtime.link.server import Limits

PAGE = Path(__file__).parents[2] / "docs" / "control-socket.md"


@pytest.fixture
def page() -> str:
    return PAGE.read_text()


def test_the_example_works_and_is_as_long_as_it_says(daemon: Any, page: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 16
    done = subprocess.run(
        [sys.executable, "-c", code, str(daemon.path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "HOLD\n")


def test_every_operation_is_there(daemon: Any, page: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (observer|operator) \|", page, re.MULTILINE))
    pretended = {"broken", "unpackable", "huge"}
    handlers = {
        op: handler.role.name.lower() for op, handler in daemon.server._handlers.items() if op not in pretended
    }
    own = dict.fromkeys(daemon.server._own, "observer")
    assert rows == handlers | own


def test_the_status_is_described(page: str, status_sample: dict[str, Any]) -> None:
    section = page.split("### status")[1].split("### joints")[0]
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", section, re.MULTILINE))))
    assert described == status_sample.keys() - {"something_new"}


def test_the_limits_are_the_real_ones(page: str) -> None:
    limits = Limits()
    assert f"at most {protocol.MAX_REQUEST} bytes" in page.replace("\n", " ")
    assert f"most {protocol.MAX_FRAME}" in page.replace("\n", " ")
    assert f"- {limits.connections} connections, the last {limits.reserved} of them" in page
    assert f"{limits.connects_per_s:.0f} new ones per second" in page
    assert f"- {limits.requests_per_s:.0f} requests per second per connection, {limits.burst:.0f} at once" in page
    assert f"{limits.all_requests_per_s:.0f} per second for all" in page
    assert f"half sent for {limits.frame_timeout_s:.0f} s" in page
    assert f"cut off after {limits.stuck_timeout_s:.0f} s" in page
