"""A machine to install on: this one under an overlay. Nothing of it changes, and all that was written is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

# What builds the stand-in for reflexd: a wheel with two scripts and the shared data, without any package at hand.
BACKEND = """
import pathlib, zipfile

VERSION = "{version}"
SCRIPTS = {{"reflexd": {reflexd!r}, "reflexctl": {reflexctl!r}}}


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = f"reflexd-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        info = f"reflexd-{{VERSION}}.dist-info"
        head = f"Metadata-Version: 2.1\\nName: reflexd\\nVersion: {{VERSION}}\\n"
        wheel.writestr(f"{{info}}/METADATA", head + "Provides-Extra: sim\\n")
        wheel.writestr(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{info}}/RECORD", "")
        for script, text in SCRIPTS.items():
            entry = zipfile.ZipInfo(f"reflexd-{{VERSION}}.data/scripts/{{script}}")
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, text)
        for path in sorted(pathlib.Path("systemd").rglob("*")):
            if path.is_file():
                wheel.write(path, f"reflexd-{{VERSION}}.data/data/share/reflexd/{{path}}")
    return name
"""
REFLEXD = """\
#!python
import pathlib, sys
text = pathlib.Path(sys.argv[2]).read_text()
if f"{sys.argv[1]} fails in VERSION" in text:
    sys.exit(f"{sys.argv[2]}: no")
"""
REFLEXCTL = """\
#!python
import json, pathlib, sys
print(json.dumps({"mode": pathlib.Path(sys.argv[2]).with_name("mode").read_text()}))
"""
# Units that run are files in /run/units; ready is what `reflexd run` of the release in force says.
SYSTEMCTL = """\
#!/bin/sh
[ "$1" = list-units ] || echo "$*" >>/run/calls
for unit; do :; done
name=${unit#*@}
name=${name%.service}
case "$1" in
list-units)
    case "$*" in *--state=active*)
        for unit in /run/units/*; do [ -e "$unit" ] && echo "${unit##*/} loaded active"; done ;;
    esac ;;
start)
    case "$unit" in reflexd@*)
        /opt/reflexd/current/bin/reflexd run "/etc/reflexd/$name.toml" || exit 1 ;;
    esac
    touch "/run/units/$unit" ;;
stop) shift; for unit; do rm -f "/run/units/$unit"; done ;;
esac
exit 0
"""


class Machine:
    """A root file system of its own, over that of this machine."""

    def __init__(self, base: Path, like: Machine | None = None) -> None:
        """`like`: another machine, with whose files this one begins (those of /run and /tmp are not kept)."""
        setup = f"""
            set -e
            mount -t tmpfs tmpfs {base}
            mkdir {base}/upper {base}/work {base}/root
            {f"cp -a {like.upper}/. {base}/upper" if like else ""}
            mount -t overlay overlay -o lowerdir=/,upperdir={base}/upper,workdir={base}/work {base}/root
            for folder in dev proc; do mount --rbind /$folder {base}/root/$folder; done
            for folder in run tmp; do mount -t tmpfs tmpfs {base}/root/$folder; done
            mkdir -p {base}/root/run/systemd/system {base}/root/run/units {base}/root/run/fake
            echo ready
            exec cat
        """
        self._base = base
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", setup],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "ready\n":
            assert self._keeper.stderr is not None
            pytest.skip(f"no overlay to be had here: {self._keeper.stderr.read().strip()}")
        seen = Path(f"/proc/{self._keeper.pid}/root{base}")
        self.root = seen / "root"
        self.upper = seen / "upper"
        for name in ("systemctl", "udevadm"):
            self.write(f"run/fake/{name}", SYSTEMCTL if name == "systemctl" else "#!/bin/sh\n", mode=0o755)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file into the machine."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def source(self, version: str) -> None:
        """A source tree of reflexd in /tmp/source: the real installer and units, and programs that stand in."""
        folder = self.root / "tmp/source"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(REPOSITORY / "systemd", folder / "systemd")
        unit = folder / "systemd/system/reflexd@.service"
        unit.write_text(f"{unit.read_text()}# of {version}\n")
        programs = {"reflexd": REFLEXD.replace("VERSION", version), "reflexctl": REFLEXCTL}
        self.write("tmp/source/backend.py", BACKEND.format(version=version, **programs))
        self.write("tmp/source/constraints.txt", "")
        build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        project = f'[project]\nname = "reflexd"\nversion = "{version}"\noptional-dependencies = {{ sim = [] }}\n'
        self.write("tmp/source/pyproject.toml", build + project)
        shutil.copy(REPOSITORY / "Makefile", folder)

    def make(self, *words: str, python: str = "/usr/bin/python3") -> subprocess.CompletedProcess[str]:
        """`make` in the source tree, as root."""
        return self.run("make", "-s", "-C", "/tmp/source", f"PYTHON={python}", "WHEELS=/tmp/source", *words)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine."""
        inside = ["nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt", "chroot", str(self._base / "root")]
        env = {
            "PATH": "/run/fake:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [*inside, *command], capture_output=True, text=True, timeout=300, check=False, env=env
        )

    def new_files(self) -> list[str]:
        """Everything in the machine that was not there before, or is gone, but for the user data base."""
        found = []
        for folder, names, files in os.walk(self.upper):
            inside = Path("/", Path(folder).relative_to(self.upper))
            found += [str(inside / name) for name in names if not Path(inside, name).is_dir()]
            found += [str(inside / name) for name in files]
        users = {f"/etc/{name}{more}" for name in ("passwd", "group", "shadow", "gshadow") for more in ("", "-")}
        return sorted(set(found) - users - {"/etc/.pwd.lock"})

    def calls(self) -> list[str]:
        """What systemctl was told since the last time."""
        path = self.root / "run/calls"
        told = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return told

    def close(self) -> None:
        """Forget the machine."""
        self._keeper.communicate()


@pytest.fixture(scope="session")
def machines() -> None:
    """Skips where no such machine can be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a root file system of its own")
    tools = ("unshare", "nsenter", "make", "systemd-sysusers", "systemd-tmpfiles")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    able = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run(["/usr/bin/python3", "-c", able], check=False, capture_output=True).returncode:
        pytest.skip("needs a Python 3.11 of the system that can make virtual environments (python3-venv)")


@pytest.fixture
def machine(tmp_path: Path, machines: None) -> Iterator[Machine]:
    """A machine where nothing of ours is."""
    made = Machine(tmp_path)
    yield made
    made.close()
