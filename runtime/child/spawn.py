"""Start a program without stopping the loop and without handing it the loop's priority.

`subprocess` and `os.posix_spawn` hold the GIL until the child has executed its program; called from a thread
they still stop the loop, and with a child of ordinary priority for as long as other programs keep it from a
CPU (measured: up to 3 ms). The C library's posix_spawn called through ctypes runs without the GIL, and gives
the child its scheduling policy before it runs anything.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack

# spawn.h of glibc
_SETSIGMASK = 0x08
_SETSCHEDPARAM = 0x10
_SETSCHEDULER = 0x20
_SETSID = 0x80
# Larger than posix_spawnattr_t (336), posix_spawn_file_actions_t (80) and sigset_t (128) of any 64-bit glibc.
_OPAQUE = 1024

_libc = ctypes.CDLL(None)


def spawn(arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Start `arguments[0]` in a session of its own, SCHED_OTHER, with the descriptors as its 0, 1, 2 ...

    Returns the process id. Raises OSError when the program cannot be executed.
    """
    with ExitStack() as stack:
        attributes = ctypes.create_string_buffer(_OPAQUE)
        actions = ctypes.create_string_buffer(_OPAQUE)
        _check(_libc.posix_spawnattr_init(attributes))
        stack.callback(_libc.posix_spawnattr_destroy, attributes)
        _check(_libc.posix_spawn_file_actions_init(actions))
        stack.callback(_libc.posix_spawn_file_actions_destroy, actions)

        flags = _SETSIGMASK | _SETSCHEDPARAM | _SETSCHEDULER | _SETSID
        no_signals = ctypes.create_string_buffer(_OPAQUE)
        _check(_libc.posix_spawnattr_setflags(attributes, ctypes.c_short(flags)))
        _check(_libc.posix_spawnattr_setsigmask(attributes, no_signals))
        _check(_libc.posix_spawnattr_setschedpolicy(attributes, os.SCHED_OTHER))
        _check(_libc.posix_spawnattr_setschedparam(attributes, ctypes.byref(ctypes.c_int(0))))
        for target, source in enumerate(descriptors):
            # A copy above all targets: otherwise one target could overwrite the source of the next.
            copy = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, len(descriptors))
            stack.callback(os.close, copy)
            _check(_libc.posix_spawn_file_actions_adddup2(actions, copy, target))

        pid = ctypes.c_int()
        program = os.fsencode(arguments[0])
        found = _libc.posix_spawn(
            ctypes.byref(pid),
            program,
            actions,
            attributes,
            _strings([os.fsencode(argument) for argument in arguments]),
            _strings([name + b"=" + value for name, value in os.environb.items()]),
        )
        if found:
            raise OSError(found, os.strerror(found), arguments[0])
        return pid.value


def _strings(values: list[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(values) + 1))(*values, None)


def _check(found: int) -> None:
    if found:
        raise OSError(found, os.strerror(found))
