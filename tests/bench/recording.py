"""`python -m tests.bench.recording`: what recording costs the daemon, and how much disk an hour takes.

The Go1 walks at 500 Hz, in turns: without recording, with it, and with two cameras of 640x480 at 30 Hz. No real
camera is there: both play a video of a textured scene that moves, with the noise of a small sensor.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import zstandard
from mcap.reader import make_reader

from runtime.cli.processes import DaemonProcess, Emulator
from runtime.config.config import Config
from runtime.config.load import load
from runtime.config.video import Video
from runtime.recording.quality.frame import FrameGauge
from runtime.recording.video.encoders import Picture, open_encoder
from tests.bench.surroundings import CONFIGS, headline, machine, save

WIDTH, HEIGHT, RATE = 640, 480, 30
NOISE = 2.0
"""Standard deviation of a pixel, of 255."""
VIDEO_S = 4
SETTLE_S = 4.0
READY_S = 60.0
NAMES = {"reflexd-record": "recorder", "reflexd-video": "encoders", "reflexd-spool": "spool"}
"""Processes by their names in /proc."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def scene(number: int, texture: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """A frame: the camera pans over a texture, and something dark swings through the picture."""
    x, y = 4 * number % WIDTH, round(40 + 40 * np.sin(number / 20))
    frame = texture[y : y + HEIGHT, x : x + WIDTH].copy()
    swing = round(260 + 220 * np.sin(number / 15))
    frame[150:330, swing : swing + 120] //= 3
    # Another cut of the same noise each time: cheaper than drawing it.
    x, y = 37 * number % WIDTH, 11 * number % 80
    return np.clip(frame + noise[y : y + HEIGHT, x : x + WIDTH], 0, 255).astype(np.uint8)


def write_video(path: Path) -> np.ndarray:
    """Write the video that the cameras play, nearly without loss; returns its frames, shape (n, h, w, 3)."""
    rng = np.random.default_rng(0)
    shape = (HEIGHT + 80, 2 * WIDTH, 3)
    noise = rng.normal(0.0, NOISE, shape).round().astype(np.int16)
    texture = np.full(shape, 110, np.int16)
    for size, strength in ((80, 40.0), (16, 20.0), (4, 10.0)):
        coarse = rng.normal(0.0, strength, (shape[0] // size, shape[1] // size, 3)).astype(np.int16)
        texture += coarse.repeat(size, axis=0).repeat(size, axis=1)
    frames = []
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(RATE), options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(VIDEO_S * RATE):
            frames.append(scene(number, texture, noise))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frames[-1], format="rgb24")))
        file.mux(stream.encode(None))
    return np.stack(frames)


def codecs(frames: np.ndarray) -> list[dict[str, Any]]:
    """What an hour of one camera takes, GB, and what a frame costs, ms of one core: each alone and at leisure."""
    second = frames[:RATE]
    began = time.process_time()
    size = sum(len(zstandard.compress(frame.tobytes(), 3)) for frame in second)
    rows = [{"codec": "raw", "hour_gb": hour_gb(second.nbytes, 1.0), "frame_ms": 0.0}]
    rows += [{"codec": "zstd", "hour_gb": hour_gb(size, 1.0), "frame_ms": _ms(began, len(second))}]
    for codec in ("h264", "h265", "jpeg"):
        encoder, _ = open_encoder(codec, Picture(WIDTH, HEIGHT, RATE, Video().bitrate, Video().jpeg_quality))
        began = time.process_time()
        size = sum(len(one.data) for n, pixels in enumerate(frames) for one in encoder.encode(n, pixels, n == 0))
        rows.append(
            {
                "codec": f"{encoder.format} ({encoder.name})",
                "hour_gb": hour_gb(size, len(frames) / RATE),
                "frame_ms": _ms(began, len(frames)),
            }
        )
    gauge, began = FrameGauge(), time.process_time()
    for pixels in second:
        gauge.measure(0, 0, pixels)
    return [*rows, {"codec": "statistics", "hour_gb": 0.0, "frame_ms": _ms(began, len(second))}]


def _ms(began_s: float, frames: int) -> float:
    return round(1e3 * (time.process_time() - began_s) / frames, 2)


def cpu_s(pid: int) -> float:
    """Time that a process has computed, all its threads together, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def memory_mb(pid: int) -> float:
    """A process's share of the memory, MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def children(pid: int) -> dict[int, str]:
    """Processes of a daemon that have to do with recording, by what they are."""
    found = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    names = {child: Path(f"/proc/{child}/comm").read_text().strip() for child in found}
    return {child: NAMES[name] for child, name in names.items() if name in NAMES}


def wait_recording(daemon: DaemonProcess) -> None:
    """Until everything that shall be recorded is."""
    deadline = time.monotonic() + READY_S
    while (found := daemon.request("status")["recording"]) is not None:
        if found["path"] and all(video["frames"] for video in found["video"].values()):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not everything is recorded: {found}")
        time.sleep(0.1)


def measure(config: Config, set_: list[str], seconds: float) -> dict[str, Any]:
    """One run: CPU (percent of one core) and memory (MB) of the daemon and of its processes."""
    with Emulator(config), DaemonProcess(config, set_) as daemon:
        daemon.wait_policy()
        daemon.request("arm")
        daemon.request("start")
        wait_recording(daemon)
        time.sleep(SETTLE_S)
        own = children(daemon.process.pid)
        pids = {daemon.process.pid: "daemon", **own}
        daemon.request("clear_histograms")
        before, began = {pid: cpu_s(pid) for pid in pids}, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        cpu, memory = Counter[str](), Counter[str]()
        for pid, name in pids.items():
            cpu[name] += 100 * (cpu_s(pid) - before[pid]) / took
            memory[name] += memory_mb(pid)
        status = daemon.request("status")
        daemon.request("disarm")
    return {
        "cpu_percent": {name: round(value, 1) for name, value in cpu.items()},
        "memory_mb": {name: round(value, 1) for name, value in memory.items()},
        "cost_us": status["cost_us"],
        "recording": status["recording"],
    }


def stored(folder: Path) -> dict[str, Any]:
    """Bytes of messages by kind, of the files, and the seconds that they last."""
    messages, files, seconds = Counter[str](), 0, 0.0
    for path in folder.glob("ready/*/*.mcap"):
        files += path.stat().st_size
        with path.open("rb") as file:
            reader = make_reader(file)
            for _, channel, message in reader.iter_messages():
                frame = channel.topic.startswith("/cameras/") and not channel.topic.endswith("/quality")
                messages["frames" if frame else "rest"] += len(message.data)
            statistics = reader.get_summary().statistics
            seconds += (statistics.message_end_time - statistics.message_start_time) / 1e9
    return {"messages": dict(messages), "files": files, "seconds": round(seconds, 1)}


def hour_gb(size: float, seconds: float) -> float:
    """Of an hour, GB."""
    return round(size / seconds * 3600 / 1e9, 2)


def run(folder: Path, seconds: float) -> dict[str, Any]:
    """All three runs, and what an hour takes."""
    video = folder / "camera.mp4"
    frames = write_video(video)
    table = f'{{type="video",file="{video}",width={WIDTH},height={HEIGHT},rate={RATE}.0}}'
    variants = {
        "without recording": ["recording.enabled=false"],
        "ticks, events, chunks": [],
        "and two cameras": [f"cameras.front={table}", f"cameras.back={table}"],
    }
    rows, files = {}, {}
    for number, (name, set_) in enumerate(variants.items()):
        place = folder / f"recordings{number}"
        config = load(CONFIGS / "go1.toml", run_dir=folder)
        rows[name] = measure(config, [*set_, f'recording.directory="{place}"'], seconds)
        files[name] = stored(place)
    ticks = files["ticks, events, chunks"]
    return {
        "runs": rows,
        "hour_gb": {
            "raw": hour_gb(ticks["messages"]["rest"], ticks["seconds"]),
            "zstd": hour_gb(ticks["files"], ticks["seconds"]),
        },
        "codecs": codecs(frames),
    }


def table(results: dict[str, Any]) -> str:
    """For docs/benchmarks.md."""
    names = ["daemon", "recorder", "encoders", "spool"]
    lines = [f"| Go1 at 500 Hz | {' | '.join(f'{name}: CPU %, MB' for name in names)} |", "|---" * 5 + "|"]
    for title, row in results["runs"].items():
        cpu, memory = row["cpu_percent"], row["memory_mb"]
        cells = [f"{cpu[name]}, {memory[name]}" if name in cpu else "" for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", "| an hour, GB | raw | zstd |", "|---|---|---|"]
    lines.append("| ticks, events, chunks | {raw} | {zstd} |".format(**results["hour_gb"]))
    lines += [
        "",
        f"| one camera, {WIDTH}x{HEIGHT} at {RATE} Hz | an hour, GB | a frame, ms of one core |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row['codec']} | {row['hour_gb'] or ''} | {row['frame_ms'] or ''} |" for row in results["codecs"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Run it, print the table and write results/recording.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recording", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="reflexd-bench-") as name:
        os.environ["STATE_DIRECTORY"] = f"{name}/state"
        results = {"machine": machine(), **run(Path(name), seconds)}
    save("recording", results)
    print(headline(results), "", table(results), sep="\n")


if __name__ == "__main__":
    main()
