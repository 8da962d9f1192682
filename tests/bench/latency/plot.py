"""The latency table as pictures for the docs: `python -m tests.bench.latency.plot` draws the last results anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.surroundings import RESULTS

DOCS = Path(__file__).parents[3] / "docs"
STYLES = {"inline": ":", "wait for chunk": ":", "openpi": "-.", "LeRobot": "--"}
"""Line styles by the beginning of a kind's name; reflexd's own are drawn through."""


def draw(cells: list[dict[str, Any]], folder: Path = DOCS) -> list[Path]:
    """Draw success, seams and jerk over latency into `folder`. Raises ModuleNotFoundError without matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    path = folder / "latency.png"
    figure, (success, seam, jerk) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for kind in dict.fromkeys(cell["kind"] for cell in cells):
        row = sorted((cell for cell in cells if cell["kind"] == kind), key=lambda cell: cell["latency_ms"])
        at = [cell["latency_ms"] for cell in row]
        style = next((style for start, style in STYLES.items() if kind.startswith(start)), "-")
        share = [100 * cell["success"] for cell in row]
        spread = [
            [max(s - 100 * cell["success_95"][0], 0.0) for s, cell in zip(share, row, strict=True)],
            [max(100 * cell["success_95"][1] - s, 0.0) for s, cell in zip(share, row, strict=True)],
        ]
        success.errorbar(at, share, spread, label=kind, linestyle=style, marker=".", capsize=2, linewidth=1.5)
        seam.plot(at, [max(cell["seam_max"], 1e-4) for cell in row], linestyle=style, marker=".")
        jerk.plot(at, [cell["jerk_rms"] for cell in row], linestyle=style, marker=".")
    success.set(title="cubes in the bin", ylabel="%", ylim=(-3, 103))
    seam.set(title="largest leap of the goal at a seam (bottom: less)", ylabel="rad", yscale="log")
    jerk.set(title="jerk of the arm, rms", ylabel="rad/s³", ylim=(0, None))
    for axes in (success, seam, jerk):
        axes.set_xlabel("inference latency, ms")
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)
    return [path]


if __name__ == "__main__":
    for written in draw(json.loads((RESULTS / "latency.json").read_text())["cells"]):
        print(written)
