"""Makes what a run needs, once: the machine, the wheels, and the machine with the working tree installed in it."""

from __future__ import annotations

import fcntl
import inspect
import json
import platform
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests.rig.harness import page, residue
from tests.rig.harness.places import CACHE, RIG, ROOT, digest, tree
from tests.rig.harness.qemu import Qemu
from tests.rig.harness.rig import Rig
from tests.rig.harness.target import VirtualTarget

GUEST_PYTHON = "3.11"
"""Debian 12's."""
EXTRAS = ("cameras", "sim", "upload")
"""What the rig's robot needs: a camera is looked through, its motors are played, its recordings are sent."""
BUILD, QEMU = (Path("tests/rig/harness", name) for name in ("build.py", "qemu.py"))
INSTALL_S = 900.0
CLEAR_MEMORY = """
lines = [line.split() for line in open("/proc/meminfo")]
free = next(int(words[1]) for words in lines if words[0] == "MemFree:")
b"\\0" * (free * 900)
"""
"""Fills most of the free memory with zeros: only what is not zero has to be read whenever the machine goes on."""
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 37)] + [
    f"manylinux{name}_x86_64" for name in ("1", "2010", "2014")
]


class NoRig(Exception):
    """This computer cannot run the rig; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A machine that was stopped in the middle of its work and can go on from there, as often as one likes."""

    machine: Path
    disk: Path
    payload: Path
    state: Path

    def usual(self) -> dict[str, Any]:
        """What there was in it, as `residue.look` tells it."""
        found: dict[str, Any] = json.loads(self.state.with_name("usual.json").read_text())
        return found

    def thaw(self, folder: Path) -> Qemu:
        """Go on from here, with changes of its disk in `folder`. Raises MachineGone."""
        disks = [overlay(self.disk, folder / "root.qcow2"), self.payload]
        return Qemu(self.machine, disks, folder / "console.txt", state=self.state)

    def boot(self, folder: Path) -> Qemu:
        """Switch it on: its disk, and nothing else. Raises MachineGone."""
        disks = [overlay(self.disk, folder / "root.qcow2"), self.payload]
        return Qemu(self.machine, disks, folder / "console.txt")


@contextmanager
def alone(what: str = "ready") -> Iterator[None]:
    """Only one process at a time makes `what`; the others wait for it, and then find it made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def needs() -> None:
    """See that this computer has what the rig needs, or get it. Raises NoRig."""
    if platform.machine() != "x86_64":
        raise NoRig(f"the rig's machine is an x86_64, this computer is a {platform.machine()}")
    done = subprocess.run([RIG / "machine/needs.sh"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoRig(done.stdout.strip() or done.stderr.strip())


def machine() -> Path:
    """The bare machine: kernel, initrd, root disk. Raises NoRig."""
    files = [file for file in tree() if file.is_relative_to("tests/rig/machine")]
    folder = CACHE / f"machine-{digest(files)}"
    if not folder.exists():
        _forget("machine-*")
        say("building the machine (a minute)")
        done = subprocess.run([RIG / "machine/build.sh", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoRig(f"the rig's machine could not be built: {(done.stderr or done.stdout).strip()[-500:]}")
    return folder


def wheels() -> Path:
    """All packages that the installation needs, for the machine's Python. Raises NoRig."""
    folder = CACHE / f"wheels-{digest([Path('pyproject.toml'), Path('constraints.txt')], *EXTRAS)}"
    if folder.exists():
        return folder
    _forget("wheels-*")
    say("fetching wheels")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in EXTRAS:
        wanted += project["project"]["optional-dependencies"][extra]
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    # pip would take the constraints' markers for the Python that it runs in.
    target = {"python_version": GUEST_PYTHON, "python_full_version": f"{GUEST_PYTHON}.2"}
    pinned = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line.strip()]
    lines = [f"{pin.name}{pin.specifier}" for pin in pinned if pin.marker is None or pin.marker.evaluate(target)]
    constraints = part / "constraints.txt"
    constraints.write_text("\n".join(lines) + "\n")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", "--python-version", GUEST_PYTHON, "--implementation", "cp"),
        *(word for name in _PLATFORMS for word in ("--platform", name)),
        *("--constraint", str(constraints), "--dest", str(part), *wanted),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoRig(f"pip could not fetch the wheels: {done.stderr.strip()[-500:]}")
    constraints.unlink()
    part.rename(folder)
    return folder


def payload() -> Path:
    """A disk with the working tree, without its tests, and the wheels."""
    files = [file for file in tree() if file.parts[0] != "tests"]
    disk = CACHE / f"payload-{digest(files, wheels().name)}.ext4"
    if not disk.exists():
        _forget("payload-*")
        folder = CACHE / "payload.part"
        shutil.rmtree(folder, ignore_errors=True)
        for file in files:
            target = folder / "source" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, target)
        shutil.copytree(wheels(), folder / "wheels")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        part = disk.with_suffix(".part")
        part.unlink(missing_ok=True)
        command = [
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-E",
            "root_owner=0:0",
            "-d",
            folder,
            part,
            f"{size // 2**20 + 64}M",
        ]
        subprocess.run(command, check=True, capture_output=True)
        shutil.rmtree(folder)
        part.rename(disk)
    return disk


def overlay(base: Path, path: Path) -> Path:
    """A disk that begins as `base` and keeps its own changes."""
    kind = "qcow2" if base.suffix == ".qcow2" else "raw"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(base.resolve()), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def fresh() -> Frozen:
    """The bare machine with the payload at /payload: what a user has before the installation. Raises NoRig."""
    bare, packed = machine(), payload()
    # A machine that was frozen goes on only in one with the same parts.
    name = f"fresh-{digest([QEMU], bare.name, packed.name)}"

    def work(qemu: Qemu) -> None:
        _do(qemu, "mkdir -p /payload && mount -o ro /dev/vdb /payload")

    return _stage(name, Frozen(bare, bare / "root.ext4", packed, Path()), work)


def installed() -> Frozen:
    """The machine with the working tree in it, installed as docs/install.md says. Raises NoRig."""
    base = fresh()

    def work(qemu: Qemu) -> None:
        say("installing the working tree in the machine (three minutes)")
        _do(qemu, "cp -r /payload/source /usr/src/reflexd && cp -r /payload/wheels /usr/src/reflexd/")
        install = page.commands("Install", 2).replace("EXTRAS=onnx", f"EXTRAS={','.join(EXTRAS)}")
        _do(qemu, f"cd /usr/src/reflexd && {install}", INSTALL_S)

    return _stage(f"installed-{digest([], base.state.parent.name)}", base, work)


def ready() -> Frozen:
    """The machine with the rig's robot, ready and disarmed. Raises NoRig."""
    base = installed()
    files = [file for file in tree() if file.parts[:2] == ("tests", "rig") and file.parts[2] in ("guest", "robot")]

    def work(qemu: Qemu) -> None:
        say("starting the robot in the machine")
        for file in files:
            qemu.agent.put(f"/opt/rig/{file.relative_to('tests/rig')}", (ROOT / file).read_bytes())
        _do(qemu, "bash /opt/rig/guest/setup.sh", 180.0)
        run_once(Rig(VirtualTarget(qemu)))
        _rest(qemu)

    return _stage(f"ready-{digest([BUILD, *files], base.state.parent.name)}", base, work)


def prepared(base: Frozen, how: Callable[[Rig], None]) -> Frozen:
    """`base`, a state of the robot, after what a scenario wants to have been done before it begins."""
    file = Path(inspect.getfile(how)).relative_to(ROOT)

    def work(qemu: Qemu) -> None:
        how(Rig(VirtualTarget(qemu)))
        _rest(qemu)

    with alone(how.__name__):
        return _stage(f"{how.__name__}-{digest([file])}", base, work, base.state.parent)


def run_once(rig: Rig) -> None:
    """Have all that moves the robot read from the disk: while it waits for that, its clock jumps too far."""
    rig.run_policy()
    rig.request("disarm")


def _rest(qemu: Qemu) -> None:
    """Wait until everything that was started is at rest: every scenario would wait for it."""
    Rig(VirtualTarget(qemu)).policy_ready()
    _do(qemu, "sleep 5")


def _stage(name: str, base: Frozen, work: Callable[[Qemu], None], place: Path = CACHE) -> Frozen:
    """`base` after some more work, from the cache when it is there."""
    folder = place / name
    if not folder.exists():
        _forget(f"{name.split('-')[0]}-*", place)
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        qemu = base.thaw(part) if base.state.name else base.boot(part)
        try:
            # What was read for the last stage is of no use any more, what is read for this one is.
            _do(qemu, "sync; echo 3 > /proc/sys/vm/drop_caches")
            work(qemu)
            _do(qemu, "sync")  # its disk alone has to be able to boot
            _do(qemu, f"python3 -c {shlex.quote(CLEAR_MEMORY)}")
            (part / "usual.json").write_text(json.dumps(residue.look(Rig(VirtualTarget(qemu)))))
            qemu.freeze(part / "state")
        finally:
            qemu.kill()
        part.rename(folder)
    return Frozen(base.machine, folder / "root.qcow2", base.payload, folder / "state")


def _do(qemu: Qemu, step: str, limit_s: float = 60.0) -> None:
    done = qemu.agent.run(["bash", "-c", step], timeout_s=limit_s)
    if done.code:
        told = qemu.agent.run(["journalctl", "-b", "--no-pager", "-n", "60", "-o", "short-precise"])
        raise RuntimeError(f"`{step}` failed in the machine: {done}\n{told.out}")


def say(text: str) -> None:
    """Tell what takes time."""
    print(f"rig: {text}", file=sys.stderr, flush=True)


def _forget(pattern: str, place: Path = CACHE) -> None:
    for path in place.glob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":  # `make rig`: the robot is there before the scenarios begin
    try:
        with alone():
            needs()
            ready()
    except NoRig as problem:
        say(f"skipped: {problem}")
