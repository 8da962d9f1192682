"""Starting a program beside a real-time loop."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from runtime.child.spawn import spawn

REPORT = """
import os, signal
print(os.sched_getscheduler(0), os.getsid(0) == os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, []))
print(os.environ["REFLEXD_TEST"], os.read(0, 10), os.readlink("/proc/self/fd/3"))
"""


def run(program: str) -> str:
    read, write = os.pipe()
    gift, giver = os.pipe()
    os.write(giver, b"gift")
    try:
        # Our 0 becomes its 3, although its 0 is another one by then.
        pid = spawn((sys.executable, "-c", program), (gift, write, write, 0))
    finally:
        for descriptor in (write, gift, giver):
            os.close(descriptor)
    with open(read) as file:
        said = file.read()
    assert os.waitpid(pid, 0)[1] == 0, said
    return said


def test_the_child_is_ordinary_whatever_its_parent_is(monkeypatch):
    monkeypatch.setenv("REFLEXD_TEST", "grüße")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user may not have real-time priority")
    try:
        said = run(REPORT)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    stdin = os.readlink("/proc/self/fd/0")
    assert said == f"{int(os.SCHED_OTHER)} True set()\ngrüße b'gift' {stdin}\n"


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/hostname"])
def test_a_program_that_cannot_run(program):
    with pytest.raises(OSError, match=program):
        spawn((program,), (0, 1, 2))
