"""Models for the tests: they run inside the worker, so they need numpy and the standard library only."""

import ctypes
import os
import signal
import socket
import sys
import time

import numpy as np

from runtime.policy.worker import wire
from runtime.policy.worker.errors import Unavailable

HORIZON, SIZE = 4, 3

# What the first value of the observation makes `Moody` do.
WELL, EXIT, KILL, SEGFAULT, STOP, SPIN, NAN, INFINITE, SHAPE, RAISE, SLOW, FORGE, GARBAGE, SHOUT, LEAVE = range(15)


class Ramp:
    """Action i is [i, i, i] plus the sum of the observation."""

    def __init__(self, model, options):
        self.options = options

    def infer(self, observation):
        return np.arange(HORIZON)[:, None] + np.full((HORIZON, SIZE), observation.sum())


class Unsure(Ramp):
    """It says how unsure it is: as much as the first value of the observation, and nothing of a negative one."""

    def infer(self, observation):
        self.uncertainty = float(observation[0]) if observation[0] >= 0 else None
        return super().infer(observation)


class Able(Ramp):
    """It continues plans and has a task: both show in its actions. Away while the first value is -1."""

    def __init__(self, model, options):
        super().__init__(model, options)
        self.task = "none"
        self.away = options.get("away", 0)

    def set_task(self, prompt):
        self.task = prompt

    def infer(self, observation):
        if self.away or observation[0] == -1:
            self.away = max(self.away - 1, 0)
            raise Unavailable("the server is away")
        return np.full((HORIZON, SIZE), float(len(self.task)))

    def continue_plan(self, observation, plan, delay):
        chunk = self.infer(observation)
        chunk[: len(plan)] = plan
        chunk[delay:] += 100
        return chunk


class Picky(Able):
    """It does not do everything."""

    def set_task(self, prompt):
        if prompt == "fly":
            raise ValueError("I cannot fly")
        super().set_task(prompt)


class Moody(Ramp):
    """A good model until the observation says otherwise."""

    def infer(self, observation):
        mood = int(observation[0])
        if mood == EXIT:
            os._exit(7)
        elif mood == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif mood == SEGFAULT:
            ctypes.string_at(0)
        elif mood == STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        elif mood == SPIN:
            while True:
                pass
        elif mood == NAN:
            return [[1.0] * SIZE, [1.0, float("nan"), 1.0], [1.0] * SIZE, [1.0] * SIZE]
        elif mood == INFINITE:
            return np.full((HORIZON, SIZE), 1e300)
        elif mood == SHAPE:
            return np.zeros((HORIZON, SIZE + 1))
        elif mood == RAISE:
            raise ValueError("the gripper is upset")
        elif mood == SLOW:
            time.sleep(0.3)
        elif mood == FORGE:
            self._send(wire.Reply(wire.OK, 99, 0, 0, time.monotonic_ns(), HORIZON, SIZE).pack())
        elif mood == GARBAGE:
            self._send(b"\xff garbage")
        elif mood == SHOUT:
            for number in range(20000):
                print(f"warning {number}: " + "x" * 80, file=sys.stderr)
            print("the last line")
        elif mood == LEAVE:
            os.close(3)
            time.sleep(60)
        return super().infer(observation)

    def _send(self, message):
        with socket.socket(fileno=os.dup(3)) as channel:
            channel.send(message)


class Sick:
    """Cannot be loaded; options say how."""

    def __init__(self, model, options):
        if "once" in options and not os.path.exists(options["once"]):
            return
        if options["how"] == "raise":
            raise LookupError("no such checkpoint")
        if options["how"] == "exit":
            print("out of cookies", file=sys.stderr)
            sys.exit(3)
        if options["how"] == "sleep":
            time.sleep(60)

    def infer(self, observation):
        if observation[0] == EXIT:
            os._exit(7)
        return np.zeros((HORIZON, SIZE))


class Wide:
    """Gives the wrong shape from the start."""

    def __init__(self, model, options):
        pass

    def infer(self, observation):
        return np.zeros((HORIZON, 7))


class Words:
    """Gives no numbers at all."""

    def __init__(self, model, options):
        pass

    def infer(self, observation):
        return "forward"


class NotAPolicy:
    def __init__(self, model, options):
        pass


class Introspective(Ramp):
    """Writes down what it sees of its interpreter."""

    def __init__(self, model, options):
        super().__init__(model, options)
        seen = [sys.executable, sys.version.split()[0], *sorted(sys.modules), *sys.path]
        with open(model, "w") as file:
            file.write("\n".join(seen))


class Unprobed(Ramp):
    """Hands an engine to TensorRT without asking for a CUDA driver: a segmentation fault where there is none."""

    def __init__(self, model, options):
        import tensorrt_lean_bindings

        super().__init__(model, options)
        with open(model, "rb") as file:
            tensorrt_lean_bindings.Runtime(tensorrt_lean_bindings.Logger()).deserialize_cuda_engine(file.read())
