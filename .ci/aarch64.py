"""Resolve all packages of the core and of the extra `onnx`, as wheels for aarch64: what a Jetson installs.

Only resolved, nothing is kept. A package without such a wheel ends with pip's own message and exit code 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in range(17, 36)] + ["manylinux2014_aarch64"]
"""Up to the glibc of JetPack 6 (Ubuntu 22.04)."""


def main() -> int:
    """Returns the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["onnx"]
    lines = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    for python in PYTHONS:
        # pip judges markers and `Requires-Python` by the Python that it runs in; a wheel's tags it judges right.
        target = {"python_full_version": f"{python}.0", "python_version": python, "platform_machine": "aarch64"}
        pins = [f"{pin.name}{pin.specifier}" for pin in lines if pin.marker is None or pin.marker.evaluate(target)]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
            constraints.write("\n".join(pins))
            constraints.flush()
            command = [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"),
                *("--ignore-installed", "--target", "nowhere", "--only-binary=:all:", "--implementation", "cp"),
                *("--ignore-requires-python", "--python-version", python, "--constraint", constraints.name),
                *(word for name in PLATFORMS for word in ("--platform", name)),
                *wanted,
            ]
            if code := subprocess.run(command, check=False).returncode:
                print(f"aarch64, Python {python}: not all packages have a wheel", file=sys.stderr)
                return code
        print(f"aarch64, Python {python}: a wheel for every package")
    return 0


if __name__ == "__main__":
    sys.exit(main())
