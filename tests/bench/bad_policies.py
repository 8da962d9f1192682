"""`python -m tests.bench.bad_policies`: how near bad policies get the demo's arm to what it must not reach.

Simulated time. JSON in tests/bench/results and a table; fails when something was reached.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from configs.demo.expert import JOINTS
from tests import bad_policies
from tests.bench.surroundings import headline, machine, save


def measure(name: str, minutes: float, seed: int) -> dict[str, Any]:
    """One policy for so long."""
    trial = bad_policies.run(bad_policies.POLICIES[name], 60 * minutes, seed)
    return {
        "policy": name,
        "room_rad": dict(zip(JOINTS, trial.room.min(axis=1).round(4).tolist(), strict=True)),
        "apart_m": round(trial.apart, 4),
        "height_m": round(trial.height, 4),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| nearest | " + " | ".join(row["policy"] for row in rows) + " |",
        "|---" * (1 + len(rows)) + "|",
    ]
    for joint in JOINTS:
        cells = " | ".join(f"{1e3 * row['room_rad'][joint]:.0f}" for row in rows)
        lines.append(f"| {joint} to an end of its range, mrad | {cells} |")
    for key, what in (("apart_m", "two parts of the arm, mm"), ("height_m", "tool above the ground, mm")):
        lines.append(f"| {what} | " + " | ".join(f"{1e3 * row[key]:.0f}" for row in rows) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run all four, two at a time where there are two processors."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bad_policies", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of simulated time, each policy")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        one = partial(measure, minutes=arguments.minutes, seed=arguments.seed)
        rows = list(pool.map(one, bad_policies.POLICIES))
    results = {"machine": machine(), "minutes": arguments.minutes, "seed": arguments.seed, "policies": rows}
    save("bad_policies", results)
    print(headline(results), f"{arguments.minutes:g} minutes each, seed {arguments.seed}", table(rows), sep="\n\n")
    least = min(min(*row["room_rad"].values(), row["apart_m"], row["height_m"]) for row in rows)
    return 0 if least > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
