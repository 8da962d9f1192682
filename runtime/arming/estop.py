"""Arming check: there is an e-stop, it is released, and nothing that stopped the robot is latched."""

from __future__ import annotations

from collections.abc import Sequence

from safety.estop import EstopState


def estop(state: EstopState, latched: Sequence[str], alive: bool, run_without: bool) -> list[str]:
    """`latched`: what stopped the robot. `alive`: the safety thread runs. `run_without`: of the config."""
    reasons = [f"{text}; reset once the cause is gone" for text in latched]
    if state == "none" and not run_without:
        reasons.append(
            "there is no e-stop: configure [safety.estop], or say safety.run_without_estop = true for a robot "
            "that cannot hurt anybody"
        )
    if state == "pressed" and not latched:
        reasons.append("the e-stop is pressed, or its line is gone; release it and reset")
    if not alive and not latched:
        reasons.append("the safety thread does not run, so nobody watches; restart the daemon")
    return reasons
