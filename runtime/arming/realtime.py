"""Arming check: the real-time settings were achieved, where the config requires them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.control.realtime import Item


def realtime(items: Sequence[Item], required: bool) -> list[str]:
    """`items`: what was tried at the start. `required`: of the config."""
    return [
        f"real time, {item.name}: {item.detail}; expected it to be achieved (realtime.required)"
        for item in items
        if required and not item.achieved
    ]
