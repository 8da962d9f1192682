"""Teach the demo's policy to see: a camera takes the place of the tracker.

    python -m configs.demo.see watch --out .demo/see.npz  what the camera sees while the policy drives
    python -m configs.demo.see learn .demo/see.npz         (torch) a network that tells the tracker's values
    python -m configs.demo.see join .demo/see.weights.npz  (onnx) that network and the policy: one model

Run from the repository's root; needs the extras `sim`, `train` and `cameras`. The network sees one picture and
what the robot knows of itself. It learns from the tracker, which the robot then does without: where the cube is
now, how fast it moves, whether there is one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 96, 64
CAMERA = "front"
KEPT_S = 0.02
"""Between two kept moments."""
OWN = 23
"""Joint positions, speeds and last action (7 each), the belt's speed (m/s), and the picture's age (s)."""
SCALE = np.array([0.1] * 3 + [0.1] * 3 + [1.0])
"""What the seven values of the tracker are measured in while learning."""
HERE = Path(__file__).parent


def watch(out: Path, runs: int, seed: int) -> None:
    """Let the policy drive, and keep what it sees, knows and should have been told."""
    from runtime.cameras.worker.emulated import View

    view = View(str(HERE / "arm.xml"), CAMERA, WIDTH, HEIGHT)  # first: MuJoCo chooses how to render when imported
    from configs.demo.mechanisms import Timing
    from configs.demo.rollout import run
    from configs.demo.train import load, somewhere

    policy = load(str(HERE / "policy.onnx"))
    rng = np.random.default_rng(seed)
    pictures, own, told = [], [], []
    for number in range(runs):
        poses: list[np.ndarray] = []
        speeds: list[float] = []

        def look(plant, poses=poses, speeds=speeds) -> None:
            poses.append(plant.snapshot())
            speeds.append(float(plant.task.observe("belt_speed")[0]))

        result = run(
            Timing(0.2, 12).mechanism(policy),
            seed + number,
            start=np.array(somewhere(rng)) if number % 2 else None,
            keep_every=2,
            limit=80.0,
            disturb=np.random.default_rng(seed + number) if number % 3 == 2 else None,
            look=look,
        )
        for i in range(5 + number % 3, len(poses), 3):
            late = int(rng.integers(0, 5))
            view.draw(poses[i - late])
            pictures.append(view.pixels.copy())
            seen = result.observations[i]
            own.append(np.concatenate((seen[:21], [speeds[i], late * KEPT_S])))
            told.append(seen[21:])
        print(
            f"run {number}: {result.in_bin} of {result.spawned} in the bin, {len(pictures)} pictures", flush=True
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out, pictures=np.array(pictures), own=np.array(own, np.float32), told=np.array(told, np.float32))


def learn(data: Path, out: Path, epochs: int) -> None:
    """Fit the network; writes its weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with np.load(data) as file:
        pictures, own, told = (torch.from_numpy(file[name]) for name in ("pictures", "own", "told"))
    mean, spread = own.mean(0), own.std(0).clamp_min(1e-3)
    scale = torch.from_numpy(SCALE.astype(np.float32))
    see = nn.Sequential(
        *(nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 16, 3, 1, 1), nn.ReLU(), nn.Flatten()),
    )
    tell = nn.Sequential(nn.Linear(16 * HEIGHT * WIDTH // 64 + OWN, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    last = nn.Linear(64, 7)
    network = nn.ModuleList([see, tell, last])
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-4)
    held_out = len(own) // 10
    count, batch = len(own) - held_out, 128
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)

    def guess(pick):
        image = pictures[pick].permute(0, 3, 1, 2).float() / 255.0 - 0.5
        return last(tell(torch.cat((see(image), (own[pick] - mean) / spread), 1)))

    rng = np.random.default_rng(0)
    for step in range(steps):
        pick = torch.from_numpy(rng.integers(0, count, batch))
        found, wanted = guess(pick), told[pick] / scale
        there = told[pick][:, 6:]
        miss = torch.nn.functional.smooth_l1_loss(found[:, :6] * there, wanted[:, :6], beta=0.02)
        loss = miss * 20 + torch.nn.functional.binary_cross_entropy_with_logits(found[:, 6:], there)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % (steps // 10) == 0:
            with torch.no_grad():
                rest = torch.arange(count, len(own))
                found = guess(rest)
                here = told[rest][:, 6] > 0.5
                off = (found[here, :3] * scale[:3] - told[rest][here, :3]).abs() * 1e3
                right = ((found[:, 6] > 0) == here).float().mean()
                print(
                    f"step {step + 1} of {steps}: off {off.mean(0).numpy().round(1)} mm, "
                    f"95 % below {off.quantile(0.95, 0).numpy().round(1)} mm, there {right:.3f}",
                    flush=True,
                )
    weights = {
        f"{i}.{name}": each.detach().numpy()
        for i, part in enumerate(network)
        for name, each in part.named_parameters()
    }
    np.savez(out, mean=mean.numpy(), spread=spread.numpy(), **weights)


def join(weights: Path, out: Path) -> None:
    """One ONNX model: picture (1, 64, 96, 3) uint8 and observation (1, 23) to the policy's actions."""
    import onnx
    from onnx import TensorProto, compose, helper, numpy_helper

    with np.load(weights) as file:
        w = {name: file[name] for name in file.files}
    nodes, constants = [], []

    def constant(name, value, kind=np.float32):
        constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def node(kind, inputs, output, **more):
        nodes.append(helper.make_node(kind, inputs, [output], **more))
        return output

    x = node("Cast", ["picture"], "floats", to=TensorProto.FLOAT)
    x = node("Transpose", [x], "first", perm=[0, 3, 1, 2])
    x = node("Sub", [node("Div", [x, constant("white", 255)], "unit"), constant("half", 0.5)], "image")
    for place, stride, edge in ((0, 2, 2), (2, 2, 1), (4, 2, 1), (6, 1, 1)):
        name = f"0.{place}"
        inputs = [x, constant(f"{name}.weight", w[f"{name}.weight"]), constant(f"{name}.bias", w[f"{name}.bias"])]
        x = node("Conv", inputs, f"c{place}", strides=[stride] * 2, pads=[edge] * 4)
        x = node("Relu", [x], f"r{place}")
    x = node("Flatten", [x], "flat")
    own = node("Sub", ["observation", constant("mean", w["mean"])], "centred")
    own = node("Div", [own, constant("spread", w["spread"])], "normal")
    x = node("Concat", [x, own], "all", axis=1)
    for name in ("1.0", "1.2", "2"):
        inputs = [x, constant(f"{name}.weight", w[f"{name}.weight"]), constant(f"{name}.bias", w[f"{name}.bias"])]
        x = node("Gemm", inputs, f"g{name}", transB=1)
        if name != "2":
            x = node("Relu", [x], f"f{name}")
    motion = node(
        "Slice",
        [x, constant("s0", [0], np.int64), constant("s6", [6], np.int64), constant("axis", [1], np.int64)],
        "motion",
    )
    logit = node("Slice", [x, "s6", constant("s7", [7], np.int64), "axis"], "logit")
    there = node("Cast", [node("Greater", [logit, constant("zero", 0)], "yes")], "there", to=TensorProto.FLOAT)
    motion = node("Mul", [node("Mul", [motion, constant("scale", SCALE[:6])], "metres"), there], "cube")
    robot = node("Slice", ["observation", "s0", constant("s21", [21], np.int64), "axis"], "robot")
    node("Concat", [robot, motion, there], "told", axis=1)
    policy = onnx.load(HERE / "policy.onnx")
    inputs = [
        helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3]),
        helper.make_tensor_value_info("observation", TensorProto.FLOAT, [1, OWN]),
    ]
    told = helper.make_tensor_value_info("told", TensorProto.FLOAT, [1, 28])
    graph = helper.make_graph(nodes, "eyes", inputs, [told], constants)
    eyes = helper.make_model(graph, opset_imports=policy.opset_import, ir_version=policy.ir_version)
    policy = compose.add_prefix(policy, "policy.")
    source = policy.graph.input[0].name
    whole = compose.merge_models(eyes, policy, io_map=[("told", source)])
    whole.graph.node.append(helper.make_node("Identity", [whole.graph.output[0].name], ["actions"]))
    whole.graph.output[0].name = "actions"
    onnx.checker.check_model(whole)
    onnx.save(whole, str(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("watch", "learn", "join"))
    parser.add_argument("file", type=Path, nargs="?", help="what the step before has written")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--seed", type=int, default=30_000, help="the demo uses seeds from 0 on")
    arguments = parser.parse_args()
    if arguments.step == "watch":
        watch(arguments.out or Path(".demo/see.npz"), arguments.runs, arguments.seed)
    elif arguments.step == "learn":
        learn(arguments.file, arguments.out or Path(".demo/see.weights.npz"), arguments.epochs)
    else:
        join(arguments.file, arguments.out or HERE / "policy_camera.onnx")


if __name__ == "__main__":
    main()
