"""One QEMU process: a machine that can be booted, frozen into a file, thawed, and cut off from power."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.rig.harness.agent import Agent, MachineGone, connect

BOOT_S = 120.0
"""A machine that has not spoken by then is broken; it usually takes 8 s."""
# The oldest that MuJoCo takes, which wants AVX: newer ones take longer to emulate.
_CPU = "SandyBridge,+rdrand,+invtsc"
_BASE = (
    *("qemu-system-x86_64", "-M", "q35", "-cpu", _CPU, "-m", "1G"),
    *("-accel", "tcg", "-smp", "1", "-icount", "shift=0,sleep=off"),
    *("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"),
    *("-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset"),
    *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
    # Two controllers at one CAN bus, and a USB port for what is plugged in.
    *("-object", "can-bus,id=bus", "-device", "kvaser_pci,canbus=bus", "-device", "kvaser_pci,canbus=bus"),
    *("-device", "qemu-xhci"),
)
CABLE = ("cable0", "cable1")
"""The ends of a serial cable."""
LOOSE = "loose"
"""The end of one that is plugged in nowhere else."""
# The processor's own counter is the clock: reading any other one stops the emulator. A library is at the same
# address in every process, so that QEMU translates it once.
_KERNEL = (
    "tsc=reliable clocksource=tsc console=ttyS0 quiet "
    "systemd.show_status=0 mitigations=off audit=0 nokaslr norandmaps panic=-1"
)


class Qemu:
    """A machine on disks that it may change.

    Software emulation, never at a real-time priority. The machine's time is counted in instructions, a nanosecond
    each, and jumps to the next timer while it waits: it does not depend on ours, and what the machine does takes
    as long on a busy host as on an idle one. It has one processor, because QEMU counts for one only.
    """

    def __init__(
        self,
        machine: Path,
        disks: Sequence[Path | str],
        console: Path,
        *,
        state: Path | None = None,
    ) -> None:
        """Start it and wait for its agent. Raises MachineGone.

        `disks`: the first is the root; a qcow2 file may be changed, another not; text is the address of an NBD
        server. `state`: a file from `freeze`, to go on from.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="rig-"))  # Unix socket paths must be short
        drives = []
        for number, disk in enumerate(disks):
            drives += ["-drive", f"file={disk},{_options(disk)},if=none,id=d{number}"]
            drives += ["-device", f"virtio-blk-pci,drive=d{number}"]
        command = [
            # It has to end with us, and not by a Ctrl-C: the scenario still asks it what became of the robot.
            *("setpriv", "--pdeathsig", "KILL"),
            *_BASE,
            *("-kernel", str(machine / "vmlinux"), "-initrd", str(machine / "initrd.cpio"), "-append", _KERNEL),
            *drives,
            *("-serial", f"file:{console}"),
            *(
                "-device",
                "virtio-serial",
                "-chardev",
                f"socket,id=rig,path={self._folder}/agent,server=on,wait=off",
            ),
            *("-device", "virtserialport,chardev=rig,name=org.reflexd.rig"),
            *("-chardev", f"socket,id={CABLE[0]},path={self._folder}/cable,server=on,wait=off"),
            *("-chardev", f"socket,id={CABLE[1]},path={self._folder}/cable", "-chardev", f"null,id={LOOSE}"),
            *("-qmp", f"unix:{self._folder}/qmp,server=on,wait=off"),
            *(("-incoming", f"exec:cat {state}") if state else ()),
        ]
        self.resets = 0
        """How often the machine was reset since it started."""
        self.watchdog_fired = threading.Event()
        self._reset = threading.Event()
        self._console = console
        self._stderr = (self._folder / "stderr").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=self._stderr, text=True, start_new_session=True
        )
        try:
            self._qmp = _Qmp(self._folder / "qmp", self._event)
            self.agent: Agent = connect(self._folder / "agent", 10.0)
            if state is None:
                self.wait_boot()
            else:
                self._wait_running()
        except MachineGone as error:
            said = (self._folder / "stderr").read_text() + self._console_tail()
            self.kill()
            raise MachineGone(f"{error}\n{said}") from None
        except BaseException:
            self.kill()
            raise

    def wait_boot(self, patience_s: float = BOOT_S) -> None:
        """Return when the machine's agent has said that it runs. Raises MachineGone."""
        deadline = time.monotonic() + patience_s
        while not self.agent.up.wait(0.2):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise MachineGone(f"the machine did not come up within {patience_s:g} s")

    def wait_reset(self, patience_s: float) -> None:
        """Return when the machine was reset and has booted again. Raises MachineGone."""
        if not self._reset.wait(patience_s):
            raise MachineGone(f"the machine was not reset within {patience_s:g} s")
        self._reset.clear()
        self.wait_boot()

    def plug(self, serial: str, cable: str) -> None:
        """Plug a USB serial adapter (FTDI) in, which hangs on this end of a cable. Raises MachineGone."""
        what = {"driver": "usb-serial", "id": serial, "serial": serial, "always-plugged": True}
        self._qmp.ask("device_add", chardev=cable, **what)

    def unplug(self, serial: str) -> None:
        """Pull it. Raises MachineGone."""
        self._qmp.ask("device_del", id=serial)

    def freeze(self, path: Path) -> None:
        """Write the running machine into a file and end it; its disks stay as they are. Raises MachineGone.

        No adapter may be plugged in.
        """
        self._qmp.ask("stop")
        self._qmp.ask("migrate", uri=f"exec:cat > {path}")
        while (status := self._qmp.ask("query-migrate").get("status")) != "completed":
            if status == "failed":
                raise MachineGone("QEMU could not write the state of the machine")
            time.sleep(0.05)
        self._qmp.ask("quit")
        self._process.wait(20)
        self.kill()

    def kill(self) -> None:
        """Cut the power: nothing that was not on the disk is kept. Twice does no harm."""
        self._process.kill()
        self._process.wait(20)
        self._stderr.close()
        if hasattr(self, "agent"):
            self.agent.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_running(self) -> None:
        deadline = time.monotonic() + 60.0
        while self._qmp.ask("query-status")["status"] == "inmigrate":
            if time.monotonic() > deadline:
                raise MachineGone("the state of the machine was not taken up within 60 s")
            time.sleep(0.02)
        self._qmp.ask("cont")  # it was frozen while it stood still
        self.agent.ping(120.0)

    def _event(self, name: str, data: dict[str, Any]) -> None:
        if name == "WATCHDOG":
            self.watchdog_fired.set()
        elif name == "RESET" and data.get("guest", True):
            self.resets += 1
            self.agent.up.clear()
            self._reset.set()

    def _console_tail(self) -> str:
        lines = self._console.read_text(errors="replace").splitlines() if self._console.exists() else []
        return "\n".join(lines[-30:])


def _options(disk: Path | str) -> str:
    if isinstance(disk, str):
        return "format=raw,cache=writeback"  # each of the machine's flushes reaches the server
    # Flushes may wait: what this process has written outlives it.
    return f"format={'qcow2' if disk.suffix == '.qcow2' else 'raw,readonly=on'},cache=unsafe"


class _Qmp:
    """QEMU's own control channel."""

    def __init__(self, path: Path, event: Any) -> None:
        deadline = time.monotonic() + 10.0
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                self._socket.close()
                if time.monotonic() > deadline:
                    raise MachineGone(f"QEMU did not start: {error}") from error
            time.sleep(0.02)
        self._event = event
        self._answers: list[dict[str, Any]] = []
        self._answered = threading.Condition()
        self._ended = False
        threading.Thread(target=self._listen, name="rig-qmp", daemon=True).start()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """One command; its result. Raises MachineGone."""
        with self._answered:
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            if not self._answered.wait_for(lambda: self._answers or self._ended, 60.0) or not self._answers:
                raise MachineGone(f"QEMU did not answer {command}")
            answer = self._answers.pop()
        if "error" in answer:
            raise MachineGone(f"QEMU refused {command}: {answer['error']}")
        result: dict[str, Any] = answer["return"]
        return result

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._socket, self._socket.makefile("r") as lines:
            for line in lines:
                message = json.loads(line)
                if "event" in message:
                    self._event(message["event"], message.get("data", {}))
                elif "QMP" not in message:
                    with self._answered:
                        self._answers.append(message)
                        self._answered.notify_all()
        with self._answered:
            self._ended = True
            self._answered.notify_all()
