"""One typed model per section of a config. Their docstrings are the text of `docs/configuration.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from drivers.gpio.options import LineOptions
from drivers.joint import Name, Options
from runtime.config.monitors import Monitors
from runtime.config.quality import Quality
from runtime.config.video import Video
from runtime.config.zones import Geofence, ProtectiveField
from runtime.control.seams.strategy import Name as Seam
from runtime.policy.tasks import Task, prompt_problem
from runtime.policy.terms import ActionTerm, ObservationTerm
from safety.workspace.options import WorkspaceOptions

Cpu = Annotated[int, Field(ge=0, lt=1024)]


class Robot(Options):
    """Which robot this is."""

    name: Name
    """Name of the robot; it is written into recordings and shown by `reflexctl status`."""
    description: str = ""
    """One line for people."""


class Control(Options):
    """The control loop."""

    rate: float = Field(ge=1, le=2000)
    """Ticks per second, Hz. `reflexd check` says which rates the buses can carry."""
    missed_limit: int = Field(default=10, ge=1)
    """So many requests in a row that a joint does not answer are a fault of this joint."""


class Realtime(Options):
    """What the daemon asks of the operating system. At start each item is reported as achieved or not."""

    required: bool = False
    """Refuse to run when any item of this section is not achieved."""
    priority: int = Field(default=50, ge=1, le=98)
    """SCHED_FIFO priority of the control loop; must be below `safety.priority`."""
    cpus: tuple[Cpu, ...] = ()
    """CPUs that the control loop may use; empty = any."""
    lock_memory: bool = True
    """Keep all memory of the daemon in RAM, so that no tick waits for a page."""
    dma_latency: bool = True
    """Hold `/dev/cpu_dma_latency` at 0, so that no tick waits for a CPU to leave deep sleep."""
    switch_interval: float = Field(default=0.0001, gt=0, le=1)
    """After this long (s) a thread that computes must let the control loop have the interpreter."""


class HardwareWatchdog(Options):
    """The machine's own watchdog, which resets the machine when the whole daemon or the kernel has frozen. Left
    out: none is used. See docs/safety.md before you switch it on."""

    device: Path
    """The watchdog's device, for example `/dev/watchdog0`."""
    timeout: int = Field(default=10, ge=1, le=3600)
    """So long (s) after its last feeding it resets the machine; longer than a restart of the daemon takes."""


class Arming(Options):
    """What must hold, besides what must always hold, before a motor is energised. See docs/safety.md."""

    temperature_max: float = Field(default=70.0, gt=0, le=150)
    """No motor may be hotter, °C."""
    disk_free: float = Field(default=200.0, ge=0)
    """So much room must be left where recordings are written, MB (10^6 bytes); 0 for any. It counts only while
    `recording.enabled` is true."""
    clock: bool = False
    """Refuse to arm while the kernel does not take the clock for synchronised (adjtimex(2)). Off, because a robot
    without a network has no other clock."""


class Stages(Options):
    """Commissioning: a robot that is new or was changed works its way up from `sensors` over 25 and 50 to 100 % of
    its speed, and another person signs each step. Left out: the robot runs at 100 %. See docs/safety.md."""

    run_minutes: float = Field(default=10.0, gt=0)
    """How long it must have run at a stage without a safety event before `reflexctl promote`, minutes."""
    single_person: bool = False
    """Let the person who operates the robot sign as well, for a machine that only one person uses."""


class Safety(Options):
    """The safety task, the e-stop, the drive-enable line, and who else watches."""

    priority: int = Field(default=80, ge=2, le=99)
    """SCHED_FIFO priority of the safety thread; must be above `realtime.priority`."""
    stall: float | None = Field(default=None, gt=0)
    """No beat of the control loop for this long (s) stops the robot; at least 2 periods of the loop.
    Left out: 3 periods, but not less than 0.02 s."""
    run_without_estop: bool = False
    """Energise motors although no e-stop is configured. Only for robots that cannot hurt anybody."""
    estop: LineOptions | None = None
    """The e-stop input. Left out: the daemon refuses to arm, unless `run_without_estop` is true."""
    estop_second: LineOptions | None = None
    """The e-stop's second channel: another contact of the same button, on a wire of its own. Either one open is a
    press. Left out: the e-stop has one channel."""
    estop_discrepancy: float = Field(default=0.5, gt=0, le=5)
    """How long the two channels may differ, s; then the robot is stopped until both were open together."""
    estop_release: float = Field(default=0.05, ge=0, le=1)
    """How long the e-stop must read as released before it is, s: a bouncing contact. A press counts at once."""
    slow_speed: float = Field(default=0.25, gt=0, le=1)
    """Part of its top speed that a joint may use while something asks the robot to go slow."""
    reset: LineOptions | None = None
    """An input that is active while the reset button is pressed. Letting it go does what `reflexctl reset` does.
    Left out: only `reflexctl reset` resets."""
    drive_enable: LineOptions | None = None
    """The output that lets motor power flow, active only while everything is well. Left out: motors are
    switched off through their bus alone."""
    drive_feedback: LineOptions | None = None
    """An input that is active while motor power flows: the mirror contact of the contactor behind `drive_enable`
    (a normally closed one with `active_low = true`). It has to follow `drive_enable`, or the robot is stopped.
    Left out: the contactor is believed."""
    drive_feedback_time: float = Field(default=0.2, gt=0, le=5)
    """How long the feedback may take to follow, both ways, s."""
    heartbeat: LineOptions | None = None
    """An output that the safety thread toggles while the control loop is alive, for a relay or a microcontroller
    that cuts power when it stops. Left out: none is used."""
    heartbeat_period: float | None = Field(default=None, ge=0.01, le=10)
    """Full period of the heartbeat's square wave, s; at least half of `stall`. Left out: as long as `stall`, but
    not less than 0.02 s."""
    watchdog: HardwareWatchdog | None = None
    """The machine's own watchdog."""
    monitor: Monitors | None = None
    """Limits on what is measured. Left out: the defaults that are given there."""
    geofence: dict[Name, Geofence] = Field(default_factory=dict)
    """Where the base may be, by names of your own."""
    protective_field: dict[Name, ProtectiveField] = Field(default_factory=dict)
    """Where nobody may be while the robot moves, by names of your own."""
    arming: Arming = Field(default_factory=Arming)
    """What must hold before a motor is energised."""
    stages: Stages | None = None
    """Commissioning in stages."""
    workspace: WorkspaceOptions | None = None
    """Where the tool may be, and the robot's own shape."""

    def stall_s(self, period_s: float) -> float:
        """Oldest beat of the control loop that is allowed, s; `period_s`: the loop's period."""
        return self.stall if self.stall is not None else max(3 * period_s, 0.02)


class CommandSpec(Options):
    """A number that an operator or the schedule gives to the policy, for example a body velocity."""

    default: float = 0.0
    """Value at start, in the policy's own unit."""
    min: float
    """Lowest value that is accepted."""
    max: float
    """Highest value that is accepted."""

    @model_validator(mode="after")
    def _default_lies_in_range(self) -> CommandSpec:
        if self.min >= self.max:
            raise ValueError(f"min {self.min} is not below max {self.max}; give the lower number as min")
        if not self.min <= self.default <= self.max:
            raise ValueError(f"default {self.default} is outside {self.min} ... {self.max}; choose one inside")
        return self


class TaskSpec(Options):
    """Something that the policy can do. It needs an id, a prompt or both."""

    id: float | None = Field(default=None, allow_inf_nan=False)
    """Number of the task, in the policy's own unit, for the observation's source `task`."""
    prompt: str | None = None
    """The task in words, for a backend that takes them. Left out: it is told an empty text."""

    @model_validator(mode="after")
    def _has_an_id_or_a_prompt(self) -> TaskSpec:
        if self.id is None and self.prompt is None:
            raise ValueError("found neither id nor prompt, expected at least one of them; add it")
        if self.prompt is not None and (problem := prompt_problem(self.prompt)):
            raise ValueError(f"prompt: {problem}; change it")
        return self


class ScheduleStep(Options):
    """Commands that are given by themselves at a moment of the run."""

    at: float = Field(ge=0)
    """Time since the policy was started, s."""
    set: dict[str, float] = Field(min_length=1)
    """New values of commands: `{ vx = 0.5 }`."""


class Inference(Options):
    """A model, how it is run, what it sees and what its output means."""

    backend: str = Field(default="onnx", min_length=1)
    """What runs the model: `onnx`, `tensorrt`, `torchscript`, `torch_export` or `replay`, on another computer
    `openpi` or `triton`, a class as `module:Class`, or a name that a package offers under `reflexd.policies`:
    [policies](policies.md)."""
    model: Path | None = None
    """File of the model; a class or a package may do without."""
    sha256: str | None = None
    """SHA-256 of the model's file, as `sha256sum` prints it; with another file the robot cannot be armed. Left
    out: any file will do."""
    python: str | None = None
    """Python interpreter of the worker process, as a path or a name in PATH. Left out: the daemon's own."""
    rate: float = Field(gt=0, le=2000)
    """Actions per second in a chunk, Hz; at most `control.rate`."""
    horizon: int = Field(ge=1, le=1000)
    """Actions in one chunk (H); 1 for a policy that gives one action a call."""
    execute: int | None = Field(default=None, ge=1)
    """Actions between two inference starts (s), at most `horizon`. Left out: half of the horizon."""
    between: Literal["interpolate", "hold"] = "interpolate"
    """Between two actions: a smooth curve that never goes beyond them, or hold the earlier one."""
    seam: Seam = "blend"
    """How the plan goes from one chunk to the next: `blend` (the offset of position and speed is cancelled and
    faded out), `prefix` (the policy is handed the plan that is under way and continues it, then blend), `ensemble`
    (an average of all chunks, as in ACT) or `replace` (a step). See docs/architecture.md."""
    seam_time: float = Field(default=0.2, gt=0, le=5)
    """How long a blend takes, s."""
    seam_decay: float = Field(default=0.01, ge=0, le=10)
    """An `ensemble` weighs its chunks by exp(-`seam_decay` i), i = 0 for the oldest."""
    observe: Literal["now", "arrival"] = "now"
    """Which moment the policy sees of joints and last action: now, or the one at which its answer is expected, by
    the plan. Sensors are as they are."""
    timeout: float = Field(default=2.0, gt=0)
    """An inference that takes longer (s) counts as hung; the worker is restarted."""
    latency: float = Field(default=0.0, ge=0)
    """Delay (s) added to every inference, for tests and demonstrations."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads that the backend may use for one inference."""
    cpus: tuple[Cpu, ...] = ()
    """CPUs that the worker may use; empty = any."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the backend itself."""
    observation: tuple[ObservationTerm, ...] = Field(min_length=1)
    """What the policy sees, in order."""
    action: tuple[ActionTerm, ...] = Field(min_length=1)
    """What its output means, in order."""

    @property
    def interval(self) -> int:
        """Actions between two inference starts."""
        return self.execute if self.execute is not None else max(1, self.horizon // 2)


class Fallback(Inference):
    """A second policy that takes over while the first one has no plan. Its worker is there all the time. It sees
    the commands and the task of the first. Left out: the robot holds instead."""

    after: float | None = Field(default=None, gt=0)
    """It takes over when the first policy has been silent for so long, s, also while a plan is left; longer than
    the time between two of its requests. Left out: when the plan ends."""
    stable: float = Field(default=1.0, ge=0)
    """It gives back when the first policy has answered again for so long, s."""


class Policy(Inference):
    """The learned policy and how it is run. Left out: the robot can be armed, held and moved by hand."""

    inline: bool = False
    """Run the inference inside the tick, as a bad example: the tick waits for it. Its seams replace."""
    command: dict[Name, CommandSpec] = Field(default_factory=dict)
    """Numbers that operators may set, by name: `[policy.command.vx]`."""
    task: dict[Name, TaskSpec] = Field(default_factory=dict)
    """What it can do, by names of your own: `[policy.task.pick]`. `reflexctl task` changes it while the policy
    runs: its next chunk is one for the new task, and the plan in force goes on until then."""
    first_task: str | None = None
    """The task in force after every start of the daemon. Left out: the first one in the config."""
    any_prompt: bool = False
    """Let operators use words of their own, which no config has checked: `reflexctl task --prompt`."""
    schedule: tuple[ScheduleStep, ...] = ()
    """Commands that are given by themselves, in order of time."""
    fallback: Fallback | None = None
    """What takes over while it has no plan."""

    @property
    def tasks(self) -> list[Task]:
        """What it can do, in the config's order."""
        return [Task(name, spec.id, spec.prompt or "") for name, spec in self.task.items()]


class Trigger(Options):
    """What else has the ring kept in the mode `ring`, and how long recording goes on after it."""

    after: float = Field(default=10.0, gt=0, le=3600)
    """What follows is kept for so long, s; also in the mode `episodes`, after a safety event."""
    window: float = Field(default=2.0, gt=0, le=60)
    """Length of the windows for the keys below, s."""
    limits: float | None = Field(default=None, gt=0, le=1)
    """The ring is kept when limits of the envelope acted in this share of the ticks in AUTO of a window. Left out:
    never because of them."""
    uncertainty: float | None = Field(default=None, gt=0)
    """The ring is kept when the chunks of a window have this mean `uncertainty`, in the unit of the policy's
    backend, which has to tell it. Left out: never because of it."""


class Recording(Options):
    """What is written to disk."""

    enabled: bool = True
    """Record every tick and every event to MCAP files."""
    directory: Path = Path("{state}/recordings")
    """Folder of the recordings."""
    mode: Literal["always", "ring", "episodes"] = "always"
    """What is kept: everything; or episodes and, when something triggers it, the last `ring_seconds` and what
    follows; or only episodes and what goes with a safety event. See docs/recording.md."""
    ring_seconds: float = Field(default=60.0, ge=6, le=86400)
    """So much is there when a trigger comes, s, in all modes but `always`."""
    trigger: Trigger = Field(default_factory=Trigger)
    """Triggers of the mode `ring`."""
    episode_minutes: float = Field(default=60.0, gt=0)
    """An episode that is open for longer is cut off: somebody has forgotten it. Minutes."""
    segment_minutes: float = Field(default=10.0, gt=0)
    """Length of one file, minutes."""
    sync: float = Field(default=0.5, ge=0.1, le=60)
    """Longest time (s) between two syncs of the disk: so much may be lost when the power fails."""
    video: Video = Field(default_factory=Video)
    """How the frames of cameras are recorded."""
    quality: Quality = Field(default_factory=Quality)
    """What the recording of an episode must hold to count as good."""


class Spool(Options):
    """How much room recordings may take in `recording.directory`. See docs/spool.md."""

    size_max: float = Field(default=20.0, gt=0)
    """All segments together, GB (10^9 bytes)."""
    free_min: float = Field(default=0.5, ge=0)
    """So much is left free on the disk, GB."""


class Socket(Options):
    """The control socket, through which `reflexctl` talks to the daemon."""

    path: str = "{run}/reflexd.sock"
    """Path of the socket."""
    group: str | None = None
    """Group whose members may operate the robot. Left out: only root and the daemon's own user."""
    everyone: bool = False
    """Let every user of the machine connect, to look and to stop the robot."""


class Emulated(Options):
    """The robot in simulation: `reflexd emulate` plays its motors, sensors and lines from this section."""

    model: Path
    """MuJoCo model (MJCF) of the robot; its joints are named like the robot's, or with `_joint` added."""
    task: str | None = None
    """What happens around the robot, as `module:Class`."""
    timestep: float | None = Field(default=None, gt=0, le=0.1)
    """Step of the physics, s. Left out: the model's own."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything that is random in the task."""
    gpio: str = "{run}/gpio.sock"
    """Socket of the emulated lines; a line of type `emulated` names it as its path."""
    drive_enable: Path | None = None
    """File that reads `1` while a `safety.drive_enable` of type `gpio` is active, such as gpio-sim's `value` of
    the line; the emulated motors have power as long. Required for such a line."""
    control: str = "{run}/emulator.sock"
    """Socket through which tests and the demo reach the emulator."""
    sensors: dict[str, Annotated[float, Field(gt=0, le=10000)]] = Field(default_factory=dict)
    """Sensors that the emulator feeds and how often, Hz: `{ imu = 500.0 }`."""
    ports: dict[str, str] = Field(default_factory=dict)
    """Where the other end of a bus's real cable is plugged in, on a computer that plays another one's motors:
    `{ arm = "/dev/ttyUSB0", leg = "can1" }`. A bus that is left out is emulated with its cable."""
    priority: int = Field(default=30, ge=0, le=98)
    """SCHED_FIFO priority of the emulator; 0 = none."""
