"""A copy of the tree whose `safety` holds all mutants at once, made by mutmut. A mutant is chosen at run time."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import pickle
import re
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.data import LineSpan
from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents

_COPIED = ("drivers", "runtime", "tests", "configs", "docs", "systemd", "pyproject.toml")
_PROPERTY = re.compile(r"^    @property\n(?=    def )", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One change of one function."""

    key: str
    """What the trampoline knows it by: module and generated name."""
    file: str
    function: str
    """`Class.method` or `function`."""
    change: str
    """The lines that differ, before and after."""
    digest: str
    """Of the changed function: while it is the same, so is the mutant."""
    lines: tuple[int, int]
    """First and last line of the changed function in the copy."""
    unchanged: tuple[int, int]
    """The same of the function as it is."""

    @property
    def covered_by(self) -> str:
        """What mutmut calls the function when it tells which test calls what."""
        return self.key.partition("__mutmut_")[0]

    def verdict(self, word: str) -> str:
        """A line of the file that keeps the verdicts."""
        return json.dumps({"key": self.key, "digest": self.digest, "verdict": word}) + "\n"


def make(root: Path, to: Path, cache: Path) -> list[Mutant]:
    """Write the copy. Returns all mutants. `cache`: where those of a file that has not changed are kept."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    cache.mkdir(exist_ok=True)
    for folder in _COPIED:
        if (root / folder).is_dir():
            shutil.copytree(
                root / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__", "rig", "results")
            )
        else:
            shutil.copy2(root / folder, to / folder)
    mutants: list[Mutant] = []
    for path in sorted((root / "safety").rglob("*.py")):
        name, source = path.relative_to(root), path.read_text()
        kept = cache / hashlib.sha256(f"{name}\n{source}\n{Path(__file__).read_text()}".encode()).hexdigest()
        if not kept.exists():
            kept.write_bytes(pickle.dumps(_mutate(name, source)))
        code, found = pickle.loads(kept.read_bytes())
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(code)
        mutants += found
    return mutants


def _mutate(name: Path, source: str) -> tuple[str, list[Mutant]]:
    # mutmut leaves decorated functions alone: properties become methods, and properties again at the end.
    mutated = mutate_file_contents(str(name), _PROPERTY.sub("", source))
    properties = [
        f"\n{owner.name}.{method.name} = property({owner.name}.{method.name})\n"
        for owner in ast.parse(source).body
        if isinstance(owner, ast.ClassDef)
        for method in owner.body
        if isinstance(method, ast.FunctionDef) and "property" in map(ast.unparse, method.decorator_list)
    ]
    return mutated.code + "".join(properties), _mutants(name, mutated)


def _mutants(name: Path, mutated: MutatedFile) -> list[Mutant]:
    module = ".".join(name.with_suffix("").parts)
    lines, spans = mutated.code.splitlines(), mutated.line_span_by_function_name
    found = []
    for generated in mutated.mutant_names:
        function = generated.partition("__mutmut_")[0]
        old, new = spans[f"{function}__mutmut_orig"], spans[generated]
        before, after = _function(lines, old), _function(lines, new)
        changed = [line for line in difflib.ndiff(before, after) if line[0] in "-+"]
        digest = hashlib.sha256("\n".join(after).encode()).hexdigest()[:16]
        words = function.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in function else function.removeprefix("x_")
        found.append(
            Mutant(
                f"{module}.{generated}",
                str(name),
                words,
                "\n".join(changed),
                digest,
                (new.start, new.end),
                (old.start, old.end),
            )
        )
    return found


def _function(lines: list[str], span: LineSpan) -> list[str]:
    """Its lines, without the name that mutmut has given it."""
    text = textwrap.dedent("\n".join(lines[span.start - 1 : span.end])).strip()
    return re.sub(r"^def \w+", "def", text).splitlines()
