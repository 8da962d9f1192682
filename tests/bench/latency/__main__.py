"""`python -m tests.bench.latency`: what inference latency costs, for every way to run a policy, in simulated time.

The demo's arm, task and policy for all of them. JSON in tests/bench/results, tables for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import groupby
from typing import Any

from tests.bench.latency.cells import EXECUTE, JITTER, KINDS, Run, available, measure_all, summary
from tests.bench.surroundings import RESULTS, headline, machine, save

LATENCIES = (0.0, 0.1, 0.2, 0.3, 0.4)


def main() -> None:
    """Measure all that is available."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.latency", description=__doc__)
    parser.add_argument("--runs", type=int, default=6, help="of ten cubes, for each cell")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=sorted(KINDS),
        default=list(KINDS),
        metavar="KIND",
        help="only these; what was measured of the others stays in the results",
    )
    parser.add_argument("--latencies", nargs="+", type=float, default=LATENCIES, metavar="S")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    kinds = []
    for kind in arguments.kinds:
        if available(kind):
            kinds.append(kind)
        else:
            print(f"{kind}: left out, .venv-peers-{KINDS[kind].peer} is not there; `make test-peers` makes it")
    jobs = [
        Run(kind, latency, seed)
        for kind in kinds
        for latency in arguments.latencies
        for seed in range(arguments.runs)
    ]
    began = time.monotonic()
    found = {} if arguments.kinds == list(KINDS) else _last()
    for name, runs in groupby(measure_all(jobs, arguments.workers), lambda run: (run.kind, run.latency)):
        found[name] = summary(list(runs))
        print("{kind}, {latency_ms} ms: {success:.1%} in {seconds} s".format(**found[name]), flush=True)
        cells = sorted(found.values(), key=lambda cell: (list(KINDS).index(cell["kind"]), cell["latency_ms"]))
        results = {"machine": machine(), "execute": EXECUTE, "jitter": JITTER, "cells": cells}
        save("latency", results)
    print("", headline(results), f"{time.monotonic() - began:.0f} s", "", *tables(cells), sep="\n")


def _last() -> dict[tuple[str, float], dict[str, Any]]:
    """The cells that were measured last, by kind and latency, s."""
    path = RESULTS / "latency.json"
    cells = json.loads(path.read_text())["cells"] if path.exists() else []
    return {(cell["kind"], cell["latency_ms"] / 1e3): cell for cell in cells if cell["kind"] in KINDS}


def tables(cells: list[dict[str, Any]]) -> list[str]:
    """The figures as Markdown: success over latency, and the rest."""
    latencies = sorted({cell["latency_ms"] for cell in cells})
    lines = [
        "| cubes in the bin, % | " + " | ".join(f"{latency} ms" for latency in latencies) + " |",
        "|---" * (1 + len(latencies)) + "|",
    ]
    for kind in dict.fromkeys(cell["kind"] for cell in cells):
        row = {cell["latency_ms"]: cell for cell in cells if cell["kind"] == kind}
        lines.append(f"| {kind} | " + " | ".join(_share(row.get(latency)) for latency in latencies) + " |")
    lines += [
        "",
        "| latency, ms | kind | time, s | starved ticks | chunks disagree by, rad | leap at a seam, rad | max "
        "| jerk rms, rad/s³ | max |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| {latency_ms} | {kind} | {seconds} ± {seconds_95} | {starved} | {came} | {seam_median} | {seam_max} "
        "| {jerk_rms} | {jerk_max} |".format(**cell, came="" if (by := cell.get("disagreement")) is None else by)
        for cell in sorted(cells, key=lambda cell: cell["latency_ms"])
    ]
    return lines


def _share(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    low, high = cell["success_95"]
    return f"{100 * cell['success']:.1f} ({100 * low:.0f} to {100 * high:.0f})"


if __name__ == "__main__":
    main()
