"""`python -m tests.bench.safety`: how fast the running demo stops; JSON in tests/bench/results, and tables."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.bench import presses, stalls
from tests.bench.surroundings import headline, machine, save


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.safety", description=__doc__)
    parser.add_argument("--presses", type=int, default=1000, help="of the e-stop")
    parser.add_argument("--faults", type=int, default=10, help="of each kind, of loop and interpreter")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reflexd-bench-") as name:
        os.environ["STATE_DIRECTORY"] = f"{name}/state"
        results = {
            "machine": machine(),
            "stalls": stalls.measure(Path(name), arguments.faults),
            "presses": presses.measure(Path(name), arguments.presses),
        }
    save("safety", results)
    print(headline(results), presses.table(results["presses"]), stalls.table(results["stalls"]), sep="\n\n")


if __name__ == "__main__":
    main()
