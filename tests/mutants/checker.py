"""Which mutants the type checker of `make lint` rejects: mypy, over the copy that holds all of them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.tree import Mutant

_ERROR = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)")


def rejected(tree: Path, mutants: Sequence[Mutant]) -> set[str]:
    """The keys of those that mypy finds fault with, where it finds none with the function as it is."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-color-output", "-p", "safety"]
    output = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False).stdout
    errors: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for found in map(_ERROR.match, output.splitlines()):
        if found:
            errors[found["file"]][int(found["line"])].add(found["text"])

    def within(file: str, first: int, last: int) -> set[tuple[int, str]]:
        return {(line - first, text) for line in range(first, last + 1) for text in errors[file].get(line, ())}

    return {
        mutant.key
        for mutant in mutants
        if within(mutant.file, *mutant.lines) - within(mutant.file, *mutant.unchanged)
    }
