"""Install, upgrade and uninstall reflexd on this machine. `make install` calls it.

Needs root, systemd and Python 3.11. Every release has a folder of its own, /opt/reflexd/releases/VERSION-NUMBER: a
virtual environment, with the unit files that belong to it under share/reflexd/systemd. /opt/reflexd/current points
to the one in force. Configs (/etc/reflexd) and data (/var/lib/reflexd) are never touched.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

HOME = Path("/opt/reflexd")
CURRENT = HOME / "current"
RELEASES = HOME / "releases"
CONFIGS = Path("/etc/reflexd")
DATA = Path("/var/lib/reflexd")
KEYS = Path("/etc/credstore")
PACKAGES = CONFIGS / "packages.txt"
"""Packages that the administrator adds to every release: drivers, policy backends."""
SOURCE = Path(__file__).resolve().parents[1]

LAUNCHERS = {Path("/usr/local/bin", name): CURRENT / "bin" / name for name in ("reflexd", "reflexctl")}
PLACES = {
    "system": Path("/usr/local/lib/systemd/system"),
    "sysusers.d": Path("/usr/local/lib/sysusers.d"),
    "tmpfiles.d": Path("/usr/local/lib/tmpfiles.d"),
    "udev": Path("/usr/local/lib/udev/rules.d"),
}
"""Folders below share/reflexd/systemd, and where their files go."""
SHARED = Path("/usr/local/lib")
"""Folders below it are removed again when they are empty."""

STILL = ("OFF", "STANDBY", "ESTOP", "FAULT")
"""Modes in which no motor has torque."""
HIDDEN = ("/root", "/home", "/run", "/tmp", "/var/tmp")
"""What the units hide from the daemon; its Python cannot live there."""


class InstallError(Exception):
    """Something keeps the work from being done; the text says what to do."""


def main() -> int:
    """Entry point. Returns the exit code: 0 done, 1 not done (standard error says why), 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="install.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("action", choices=("install", "upgrade", "uninstall"))
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="take all packages from this folder: no network"
    )
    parser.add_argument("--extras", metavar="NAMES", help="extras to install, for example onnx or sim")
    parser.add_argument("--force", action="store_true", help="also when a robot is energised; it is stopped first")
    args = parser.parse_args()
    try:
        _check_machine()
        with _Lock():
            if args.action == "install":
                install(args.extras, args.wheels)
            elif args.action == "upgrade":
                upgrade(args.extras, args.wheels, args.force)
            else:
                uninstall(args.force)
    except InstallError as error:
        print(f"{args.action}: {error}", file=sys.stderr)
        return 1
    return 0


def install(extras: str | None, wheels: Path | None) -> None:
    """The first release. Raises InstallError."""
    if CURRENT.is_symlink():
        raise InstallError(f"found {CURRENT.resolve().name} installed already; use `make upgrade`")
    for path, target in LAUNCHERS.items():
        if os.path.lexists(path) and not (path.is_symlink() and path.readlink() == target):
            raise InstallError(f"found {path}, which is not ours; remove it")
    release = build(extras or "", wheels)
    try:
        activate(release, None)
        for path, target in LAUNCHERS.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_symlink():
                path.symlink_to(target)
            say(f"launcher {path}")
    except BaseException:
        _remove_all()
        raise
    say(f"installed {release.name}; configs go to {CONFIGS}, data to {DATA}")
    print(
        f"Next:\n"
        f"  1. put your robot's config at {CONFIGS}/NAME.toml and check it: reflexd check {CONFIGS}/NAME.toml\n"
        f"  2. let people operate it: usermod --append --groups reflexd USER (they log in again)\n"
        f"  3. start it now and at every boot: systemctl enable --now reflexd@NAME\n"
        f"Or try an emulated robot first: {CURRENT}/share/reflexd/docs/install.md"
    )


def upgrade(extras: str | None, wheels: Path | None, force: bool) -> None:
    """A new release beside the old one, which comes back when the new one does not start. Raises InstallError."""
    if not CURRENT.is_symlink():
        raise InstallError("found no installation; use `make install`")
    old = CURRENT.resolve()
    running = instances("active", "reloading")
    refuse_when_energised(running, force)
    release = build(_extras_of(old) if extras is None else extras, wheels)
    try:
        refused = "\n".join(text for name in robots(running) if (text := _mistakes(release, name)))
        if refused:
            raise InstallError(f"the new release does not take the configs in use; nothing was stopped\n{refused}")
        refuse_when_energised(running, force)
    except BaseException:
        shutil.rmtree(release)
        raise
    # A unit that is just being tried again is stopped too, but nobody waits for it afterwards.
    others = [unit for unit in instances("activating") if unit not in running]
    try:
        stop(running + others)
        activate(release, old)
        failed = start(running)
    except BaseException as error:
        _roll_back(old, release, running)
        if isinstance(error, OSError | InstallError):
            raise InstallError(
                f"{release.name} could not be put in place ({error}); {old.name} is back"
            ) from error
        raise
    if failed:
        lost = _roll_back(old, release, running)
        told = f"{release.name} did not become ready ({', '.join(failed)}); {old.name} is back"
        raise InstallError(f"{told}, but did not start either: {', '.join(lost)}" if lost else told)
    start(others, wait=False)
    shutil.rmtree(old)
    say(f"upgraded {old.name} to {release.name}; running: {', '.join(running) or 'nothing'}")


def uninstall(force: bool) -> None:
    """Remove everything but configs, data and the user. Raises InstallError."""
    refuse_when_energised(instances("active", "reloading"), force)
    stop(instances("active", "reloading", "activating", "failed"))
    for link in sorted(Path("/etc/systemd/system").glob("*.wants/reflexd*@*.service")):
        link.unlink()
        _remove_if_empty(link.parent)
        say(f"disabled {link.name}")
    _remove_all()
    tell_system("system", "udev")
    shutil.rmtree("/run/reflexd", ignore_errors=True)
    kept = [str(folder) for folder in (CONFIGS, DATA, KEYS) if folder.exists()]
    say(f"uninstalled; kept: {', '.join([*kept, 'the user and group reflexd'])}")


# Releases


def build(extras: str, wheels: Path | None) -> Path:
    """A new release from the working tree around this file, not yet in force. Raises InstallError."""
    _check_python()
    RELEASES.mkdir(parents=True, exist_ok=True)
    used = [int(path.name.rpartition("-")[2]) for path in RELEASES.iterdir()]
    release = RELEASES / f"{_version()}-{max(used, default=0) + 1}"
    say(f"building {release}")
    python = f"{release}/bin/python"
    options = [
        "--no-compile",
        "--no-cache-dir",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
    ]
    options += ["--constraint", str(SOURCE / "constraints.txt")]
    if wheels is not None:
        options += ["--no-index", "--find-links", str(wheels.resolve())]
    packages = ["--requirement", str(PACKAGES)] if PACKAGES.exists() else []
    tree = f"{SOURCE}[{extras}]" if extras else str(SOURCE)
    try:
        # A release has no pip of its own: to put one in takes as long as all the rest.
        run(sys.executable, "-m", "venv", "--without-pip", str(release))
        with tempfile.TemporaryDirectory() as pip:
            zipfile.ZipFile(_pip()).extractall(pip)
            run("env", f"PYTHONPATH={pip}", python, "-m", "pip", "install", *options, tree, *packages)
        # On all processors, where pip would use one. What cannot be compiled is not meant for this Python; nobody
        # runs the libraries' own tests here, nor draws with PyOpenGL, which are half of it.
        compileall = [python, "-m", "compileall", "-qq", "-j0", "-x", "/(tests|OpenGL)/", str(release / "lib")]
        subprocess.run(compileall, check=False)
        (release / "reflexd-release.json").write_text(json.dumps({"extras": extras}) + "\n")
    except BaseException:
        shutil.rmtree(release, ignore_errors=True)
        raise
    return release


def files_of(release: Path) -> dict[Path, Path]:
    """The files of a release that live outside of it, each with where its content comes from."""
    data = release / "share/reflexd/systemd"
    return {place / path.name: path for name, place in PLACES.items() for path in sorted((data / name).iterdir())}


def activate(release: Path, old: Path | None) -> None:
    """Put a release in force in place of another. Nothing of it may be running."""
    files = files_of(release)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(content.read_bytes())
        fresh.chmod(0o644)
        fresh.replace(path)
        if old is None:
            say(f"file {path}")
    for path in files_of(old) if old else ():
        if path not in files:
            _remove(path)
    fresh = CURRENT.with_name(".current.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(release.relative_to(HOME))
    fresh.replace(CURRENT)
    tell_system("sysusers.d", "tmpfiles.d", "system", "udev")


def _remove_all() -> None:
    if CURRENT.is_symlink():
        for path in files_of(CURRENT.resolve()):
            _remove(path)
    for path in LAUNCHERS:
        if path.is_symlink():
            path.unlink()
    CURRENT.unlink(missing_ok=True)
    shutil.rmtree(RELEASES, ignore_errors=True)
    for folder in (HOME, CONFIGS, DATA, KEYS):
        _remove_if_empty(folder)


def tell_system(*kinds: str) -> None:
    """Let systemd and udev read what has changed. Raises InstallError."""
    if "sysusers.d" in kinds:
        run("systemd-sysusers", str(PLACES["sysusers.d"] / "reflexd.conf"))
    if "tmpfiles.d" in kinds:
        run("systemd-tmpfiles", "--create", str(PLACES["tmpfiles.d"] / "reflexd.conf"))
    if not Path("/run/systemd/system").is_dir():
        return  # an image that is being built
    if "system" in kinds:
        run("systemctl", "daemon-reload")
    if "udev" in kinds and shutil.which("udevadm"):
        run("udevadm", "control", "--reload")
        subsystems = ("gpio", "misc", "tty", "usb-serial", "watchdog")
        run(
            "udevadm", "trigger", "--action=add", "--settle", *(f"--subsystem-match={name}" for name in subsystems)
        )


def _roll_back(old: Path, release: Path, units: list[str]) -> list[str]:
    """Put the old release back. Returns the units that do not start with it either."""
    say(f"going back to {old.name}")
    subprocess.run(["systemctl", "stop", *units], check=False)
    activate(old, release)
    lost = start(units)
    shutil.rmtree(release, ignore_errors=True)
    return lost


def _version() -> str:
    text = (SOURCE / "pyproject.toml").read_text()
    found = re.search(r'^version = "([0-9a-zA-Z.+]+)"$', text, re.MULTILINE)
    if not found:
        raise InstallError(f"found no version in {SOURCE}/pyproject.toml, expected the project's source tree")
    return found[1]


def _extras_of(release: Path) -> str:
    return str(json.loads((release / "reflexd-release.json").read_text())["extras"])


# Running robots


def instances(*states: str) -> list[str]:
    """Units of robots and emulated hardware in one of these states; the robots first."""
    if not Path("/run/systemd/system").is_dir():
        return []
    command = ["systemctl", "list-units", "--plain", "--no-legend", "--full", f"--state={','.join(states)}"]
    found = run(*command, "reflexd@*.service", "reflexd-emulator@*.service").splitlines()
    return sorted((line.split()[0] for line in found), key=lambda unit: not unit.startswith("reflexd@"))


def robots(units: list[str]) -> list[str]:
    """The names of the robots among the units."""
    return [unit[len("reflexd@") : -len(".service")] for unit in units if unit.startswith("reflexd@")]


def refuse_when_energised(units: list[str], force: bool) -> None:
    """Raises InstallError when a robot has torque, or does not say that it has none."""
    told = [f"robot {name}: {mode}" for name in robots(units) if (mode := _mode(name)) not in STILL]
    if told and not force:
        raise InstallError(
            f"{'; '.join(told)}; `reflexctl disarm` first, or say FORCE=1 (every robot is stopped then)"
        )


def stop(units: list[str]) -> None:
    """Stop units, the robots before their hardware. Raises InstallError."""
    for unit in units:
        say(f"stopping {unit}")
        run("systemctl", "stop", unit)


def start(units: list[str], wait: bool = True) -> list[str]:
    """Start units, the hardware before the robots, and wait until each is ready. Returns those that are not."""
    failed = []
    for unit in reversed(units):
        say(f"starting {unit}")
        # What failed before must not count against the start limit.
        subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL, check=False)
        command = ["systemctl", "start", *([] if wait else ["--no-block"]), unit]
        if subprocess.run(command, check=False).returncode:
            failed.append(unit)
    return failed


def _mode(name: str) -> str:
    """The mode of a running robot; anything else than the name of a mode when it does not say."""
    path = f"/run/reflexd/{name}/reflexd.sock"
    command = [f"{CURRENT}/bin/reflexctl", "--socket", path, "--json", "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return str(json.loads(done.stdout)["mode"])
    except (ValueError, KeyError, TypeError):
        return f"does not tell its mode ({done.stderr.strip()})"


def _mistakes(release: Path, name: str) -> str:
    """What a release says against the config of a robot; empty when it is good."""
    command = [f"{release}/bin/reflexd", "check", f"{CONFIGS}/{name}.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


# The machine


class _Lock:
    """One installation at a time."""

    def __enter__(self) -> None:
        self._file = os.open("/run/lock" if os.path.isdir("/run/lock") else "/run", os.O_RDONLY)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstallError("found another installation at work; wait for it") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise InstallError("found an ordinary user, expected root; use sudo")
    if shutil.which("systemctl") is None:
        raise InstallError("found no systemd on this machine; docs/install.md tells how to run in a container")
    os.umask(0o022)  # the daemon's user must be able to read what root writes


def _check_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036
        found = "{}.{}".format(*sys.version_info)
        raise InstallError(
            f"found Python {found}, expected 3.11 or newer; for example: make install PYTHON=python3.11"
        )
    base = Path(sys.base_prefix).resolve()
    if any(base.is_relative_to(hidden) for hidden in HIDDEN):
        hidden = ", ".join(HIDDEN)
        raise InstallError(f"found a Python in {base}, which the service cannot see; use one outside of {hidden}")
    closed = [str(folder) for folder in (base, *base.parents) if not folder.stat().st_mode & 0o001]
    if closed:
        raise InstallError(f"found a Python in {base}, but {closed[-1]} lets only its owner in; chmod o+x it")
    _pip()


def _pip() -> Path:
    """The pip that comes with this Python, as a wheel. Raises InstallError."""
    # Debian and Fedora keep it in a folder of their own.
    folder = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(sysconfig.get_path("stdlib"), "ensurepip/_bundled")
    found = sorted(Path(folder).glob("pip-*.whl"))
    if not found:
        raise InstallError(
            f"found a Python without its pip in {folder}, as venv needs it; apt install python3-venv"
        )
    return found[-1]


def run(*command: str) -> str:
    """Run a command that has to succeed; returns what it prints. Raises InstallError."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = done.stderr.strip() or done.stdout.strip()
        raise InstallError(f"`{' '.join(command)}` failed ({done.returncode}): {told}")
    return done.stdout


def say(text: str) -> None:
    """Tell what was done."""
    print(text, flush=True)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    while path.parent != SHARED:
        path = path.parent
        _remove_if_empty(path)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
