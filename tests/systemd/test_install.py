"""`make install`, `upgrade` and `uninstall` on a machine of their own; reflexd and systemctl are stand-ins."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.conftest import REPOSITORY, Machine

pytestmark = pytest.mark.xdist_group("install")

UNIT = "/usr/local/lib/systemd/system/reflexd@.service"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, machines: None) -> Iterator[Machine]:
    """Version 1.0 with the extra `sim`, a config and some data."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.source("1.0")
    done = machine.make("install", "EXTRAS=sim")
    assert done.returncode == 0, done.stdout + done.stderr
    machine.write("/etc/reflexd/arm.toml", "")
    machine.write("/var/lib/reflexd/arm/recordings/1.mcap", "data")
    yield machine
    machine.close()


@pytest.fixture
def installed(tmp_path: Path, template: Machine) -> Iterator[Machine]:
    """The same, and the emulated robot `arm` runs, and stands still."""
    machine = Machine(tmp_path, template)
    machine.source("1.0")
    for unit in ("reflexd-emulator@arm.service", "reflexd@arm.service"):
        machine.write(f"/run/units/{unit}", "")
    machine.write("/run/reflexd/arm/mode", "STANDBY")
    yield machine
    machine.close()


def release(machine: Machine) -> str:
    return (machine.root / "opt/reflexd/current").readlink().name


def units(machine: Machine) -> list[str]:
    return sorted(path.name for path in (machine.root / "run/units").iterdir())


def test_install_and_uninstall_leave_nothing_but_the_user(machine: Machine) -> None:
    machine.source("1.0")
    assert machine.new_files() == []
    done = machine.make("install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "systemctl enable --now reflexd@NAME" in done.stdout
    assert release(machine) == "1.0-1"
    assert machine.run("/opt/reflexd/current/bin/python", "-c", "import pip").returncode == 1
    assert "# of 1.0" in machine.read(UNIT)
    machine.write("/run/reflexd/arm/mode", "HOLD")
    assert machine.run("reflexctl", "--socket", "/run/reflexd/arm/reflexd.sock").stdout == '{"mode": "HOLD"}\n'
    assert machine.run("getent", "passwd", "reflexd").stdout.endswith(":/var/lib/reflexd:/usr/sbin/nologin\n")
    assert "reflexd" in machine.run("getent", "group", "dialout").stdout
    assert machine.calls() == ["daemon-reload"]
    for path in (machine.root / "opt/reflexd").rglob("*"):
        assert path.is_symlink() or path.stat().st_mode & stat.S_IROTH, path
    machine.write("/etc/systemd/system/multi-user.target.wants/reflexd@arm.service", "")
    assert machine.make("uninstall").returncode == 0
    assert machine.new_files() == []


def test_uninstall_keeps_configs_and_data(installed: Machine) -> None:
    done = installed.make("uninstall")
    assert done.returncode == 0, done.stderr
    assert "kept: /etc/reflexd, /var/lib/reflexd, the user and group reflexd" in done.stdout
    assert installed.calls()[:2] == ["stop reflexd@arm.service", "stop reflexd-emulator@arm.service"]
    assert [path for path in installed.new_files() if Path(path).suffix] == [
        "/etc/reflexd/arm.toml",
        "/var/lib/reflexd/arm/recordings/1.mcap",
    ]


def test_an_upgrade_replaces_the_release_and_starts_what_ran(installed: Machine) -> None:
    installed.source("2.0")
    done = installed.make("upgrade")
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.listdir(installed.root / "opt/reflexd/releases") == ["2.0-2"]
    assert release(installed) == "2.0-2"
    assert '"extras": "sim"' in installed.read("/opt/reflexd/current/reflexd-release.json")
    assert "# of 2.0" in installed.read(UNIT)
    assert [call for call in installed.calls() if not call.startswith("reset-failed")] == [
        "stop reflexd@arm.service",
        "stop reflexd-emulator@arm.service",
        "daemon-reload",
        "start reflexd-emulator@arm.service",
        "start reflexd@arm.service",
    ]
    assert installed.read("/var/lib/reflexd/arm/recordings/1.mcap") == "data"
    assert installed.make("upgrade", "EXTRAS=").returncode == 0
    assert '"extras": ""' in installed.read("/opt/reflexd/current/reflexd-release.json")


def test_a_release_that_does_not_become_ready_is_taken_back(installed: Machine) -> None:
    installed.write("/etc/reflexd/arm.toml", "run fails in 2.0")
    installed.source("2.0")
    done = installed.make("upgrade")
    assert done.returncode != 0
    assert "2.0-2 did not become ready (reflexd@arm.service); 1.0-1 is back" in done.stderr
    assert release(installed) == "1.0-1"
    assert "# of 1.0" in installed.read(UNIT)
    assert os.listdir(installed.root / "opt/reflexd/releases") == ["1.0-1"]
    assert units(installed) == ["reflexd-emulator@arm.service", "reflexd@arm.service"]
    calls = installed.calls()
    assert calls.count("daemon-reload") == 2
    # Systemd counts starts; those of the release that failed must not keep the old one from starting.
    assert calls[-2:] == ["reset-failed reflexd@arm.service", "start reflexd@arm.service"]


def test_an_old_release_that_does_not_come_back_is_told(installed: Machine) -> None:
    installed.write("/etc/reflexd/arm.toml", "run fails in 2.0\nrun fails in 1.0")
    installed.source("2.0")
    done = installed.make("upgrade")
    assert done.returncode != 0
    assert "1.0-1 is back, but did not start either: reflexd@arm.service" in done.stderr


def test_a_release_that_does_not_take_the_config_stops_nothing(installed: Machine) -> None:
    installed.write("/etc/reflexd/arm.toml", "check fails in 2.0")
    installed.source("2.0")
    done = installed.make("upgrade")
    assert done.returncode != 0
    assert "nothing was stopped\n/etc/reflexd/arm.toml: no" in done.stderr
    assert release(installed) == "1.0-1"
    assert installed.calls() == []


def test_a_release_that_cannot_be_built_stops_nothing(installed: Machine) -> None:
    installed.source("2.0")
    installed.write("/tmp/source/constraints.txt", "no such thing")
    done = installed.make("upgrade")
    assert done.returncode != 0
    assert "constraints.txt" in done.stderr
    assert os.listdir(installed.root / "opt/reflexd/releases") == ["1.0-1"]
    assert installed.calls() == []


def test_a_robot_with_torque_is_left_alone(installed: Machine) -> None:
    path = installed.root / "run/reflexd/arm/mode"
    for mode in ("HOLD", "AUTO", "STOPPING", None):
        path.unlink() if mode is None else path.write_text(mode)
        for action in ("upgrade", "uninstall"):
            done = installed.make(action)
            assert done.returncode != 0
            assert f"robot arm: {mode or 'does not tell its mode'}" in done.stderr
            assert "FORCE=1" in done.stderr
    assert installed.calls() == []
    assert release(installed) == "1.0-1"


def test_force_stops_a_robot_with_torque(installed: Machine) -> None:
    installed.write("/run/reflexd/arm/mode", "AUTO")
    assert installed.make("uninstall", "FORCE=1").returncode == 0
    assert units(installed) == []


def test_packages_of_the_administrator_go_into_every_release(installed: Machine) -> None:
    installed.write("/etc/reflexd/packages.txt", "no-such-driver==1.0")
    installed.source("2.0")
    done = installed.make("upgrade")
    assert done.returncode != 0
    assert "no-such-driver" in done.stderr


def test_what_is_refused_before_anything_is_done(installed: Machine) -> None:
    assert "1.0-1 installed already; use `make upgrade`" in installed.make("install").stderr
    assert installed.make("uninstall").returncode == 0
    assert "found no installation" in installed.make("upgrade").stderr
    installed.write("/usr/local/bin/reflexd", "")
    assert "/usr/local/bin/reflexd, which is not ours" in installed.make("install").stderr
    (installed.root / "usr/local/bin/reflexd").unlink()
    assert not (installed.root / "opt/reflexd").exists()


def test_a_python_without_its_pip_is_refused(machine: Machine) -> None:
    machine.source("1.0")
    for wheel in (machine.root / "usr/share/python-wheels").glob("pip-*.whl"):
        wheel.unlink()
    before = machine.new_files()
    done = machine.make("install")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert machine.new_files() == before


@pytest.mark.parametrize("hidden", ["/root/python", "/home/me/python", "/tmp/python"])
def test_a_python_that_the_service_cannot_see_is_refused(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("install", REPOSITORY / "systemd/install.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.base_prefix", hidden)
    with pytest.raises(module.InstallError, match=hidden):
        module._check_python()
