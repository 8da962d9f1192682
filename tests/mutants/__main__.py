"""Mutation testing of `safety`: `make mutants`, docs/mutants.md."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.mutants.checker import rejected
from tests.mutants.session import KILLED, TIMED_OUT
from tests.mutants.tree import Mutant, make

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutants"
TREE, VERDICTS = WORK / "tree", WORK / "verdicts.jsonl"
SURVIVORS = Path(__file__).with_name("survivors.toml")
LEAST = 0.9
"""Part of the mutants that mypy accepts which tests have to kill."""

REJECTED, ACCEPTED = "rejected by mypy", "accepted by mypy"
Verdicts = dict[tuple[str, str], str]
"""The last verdict on each mutant, by key and digest."""


def main(files: Sequence[str]) -> int:
    """Try the mutants of these files in this order, of all when none is named. Returns the exit code."""
    mutants = make(ROOT, TREE, WORK / "made")
    unknown = [file for file in files if file not in {mutant.file for mutant in mutants}]
    if unknown:
        print(f"found no mutants of {', '.join(unknown)}; expected files such as safety/decide.py")
        return 2
    chosen = [mutant for file in files for mutant in mutants if mutant.file == file] if files else mutants
    known = _verdicts()
    _check_types([mutant for mutant in mutants if (mutant.key, mutant.digest) not in known])
    # What is dead stays dead; what has survived may meet a new test.
    known = _verdicts()
    todo = [each for each in chosen if known.get((each.key, each.digest)) not in (KILLED, TIMED_OUT, REJECTED)]
    (WORK / "todo").write_bytes(pickle.dumps(todo))
    paths = [str(WORK / "todo"), str(VERDICTS), str(WORK / "stats.json")]
    command = [sys.executable, "-m", "tests.mutants.session", *paths]
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    status = subprocess.run(command, cwd=TREE, env=environment, stdout=subprocess.DEVNULL, check=False).returncode
    return status or _report(chosen, _verdicts())


def _check_types(mutants: Sequence[Mutant]) -> None:
    """Note which of these mutants are no tests' business."""
    wrong = rejected(TREE, mutants) if mutants else set()
    with VERDICTS.open("a") as file:
        for mutant in mutants:
            file.write(mutant.verdict(REJECTED if mutant.key in wrong else ACCEPTED))


def _verdicts() -> Verdicts:
    lines = VERDICTS.read_text().splitlines() if VERDICTS.exists() else []
    return {(each["key"], each["digest"]): each["verdict"] for each in map(json.loads, lines)}


def _report(mutants: Sequence[Mutant], verdicts: Verdicts) -> int:
    """Print a table by file, and who survives without a reason. Returns the exit code."""
    found = {each.key: verdicts[each.key, each.digest] for each in mutants}
    tested = [each for each in mutants if found[each.key] != REJECTED]
    alive = [each for each in tested if found[each.key] not in (KILLED, TIMED_OUT)]
    every, left, lived = (Counter(each.file for each in some) for some in (mutants, tested, alive))
    print("| file | mutants | rejected by mypy | tested | killed | survived | killed, % |")
    print("|---|---|---|---|---|---|---|")
    for file in [*every, "all"]:
        count, tries, lives = (of.total() if file == "all" else of[file] for of in (every, left, lived))
        rate = 100 * (1 - lives / tries) if tries else 100
        print(f"| {file} | {count} | {count - tries} | {tries} | {tries - lives} | {lives} | {rate:.1f} |")
    listed = tomllib.loads(SURVIVORS.read_text())["survivor"]
    unlisted = [each for each in alive if not any(_is(each, one) for one in listed)]
    for each in unlisted:
        print(f"\n{each.file}: {each.function} survives, and {SURVIVORS.name} has no reason:\n{each.change}")
    return 1 if unlisted or len(alive) > (1 - LEAST) * len(tested) else 0


def _is(mutant: Mutant, listed: dict[str, Any]) -> bool:
    """Whether an entry of the list speaks of the mutant."""
    place = fnmatch(f"{mutant.file}:{mutant.function}", listed["where"])
    after = [line for line in mutant.change.splitlines() if line[0] == "+"]
    return place and any(part in line for part in listed["becomes"] for line in after)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
