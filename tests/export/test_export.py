"""`reflexctl export`: what is in the files, read with the libraries that users read them with."""

from __future__ import annotations

import json

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from runtime.cli import export as command
from runtime.cli.reflexctl import main
from runtime.export import cut, statistics
from runtime.export.frames import nearest
from runtime.recording.reader import Recording, join
from tests.export import made

MS = 1_000_000
FRAME = 33_333_333


def about(name, part=1, **more):
    return {"id": name, "number": name[1:], "part": str(part), "task": "pick", "prompt": "pick it", **more}


@pytest.fixture
def spool(tmp_path):
    """e1 in two parts that overlap and go on behind its end; e2 with an intervention; e3 bad; e4 discarded."""
    root = tmp_path / "spool"
    ends = {"outcome": "success", "verdict": "good", "started_mono_ns": "0", "ended_mono_ns": str(1500 * MS)}
    made.segment(
        root / "ready/bulk/a.mcap",
        made.ticks(0, 100),
        episode=about("e1"),
        cameras={"front": [FRAME * number for number in range(30)]},
        chunks=[made.chunk(500 * MS, 600 * MS, [[1.0, 2.0]], prompt="drop it")],
        events=[(5, "robot.started")],
    )
    made.segment(
        root / "ready/bulk/b.mcap",
        made.ticks(95, 100),
        episode=about("e1", 2, **ends, notes='["wobbles"]'),
        cameras={"front": [FRAME * number for number in range(30, 60)]},
    )
    by_hand = np.concatenate([made.ticks(300, 20), made.ticks(320, 10, mode=4), made.ticks(330, 20)])
    front = {"front": [3000 * MS + FRAME * number for number in range(15)]}
    made.segment(root / "ready/failure/c.mcap", by_hand, episode=about("e2", outcome="failure"), cameras=front)
    bad = about("e3", outcome="success", verdict="bad", reasons='["front: dark"]')
    made.segment(root / "ready/bulk/d.mcap", made.ticks(400, 50), episode=bad)
    made.segment(root / "ready/bulk/e.mcap", made.ticks(500, 50), episode=about("e4", outcome="discarded"))
    made.segment(root / "ready/bulk/f.mcap", made.ticks(600, 50))
    return root


def run(capsys, *words):
    code = main(["export", "--json", *map(str, words)])
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out else {}, told.err


def test_lerobot(spool, tmp_path, capsys):
    folder = tmp_path / "out"
    code, told, remarks = run(capsys, "--format", "lerobot", "--output", folder, spool)
    assert (code, told["episodes"], told["frames"], told["fps"]) == (0, 2, 76 + 25, 50)
    assert "episode e3 is left out, its verdict is bad: front: dark" in remarks
    assert "episode e4 is left out, it was discarded" in remarks
    assert "1 segments outside of episodes are left out" in remarks

    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["robot_type"], info["total_frames"]) == ("v3.0", "maker", 101)
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [2], "names": ["Waist", "elbow"]}
    assert info["features"]["observation.images.front"]["shape"] == [made.HEIGHT, made.WIDTH, 3]
    data = pq.read_table(folder / "data/chunk-000/file-000.parquet").to_pydict()
    assert data["episode_index"] == [0] * 76 + [1] * 25
    assert data["index"] == list(range(101))
    np.testing.assert_allclose(data["timestamp"][:76], np.arange(76) / 50, atol=1e-6)
    # Frame i is tick 2 i: 50 of 100 Hz.
    np.testing.assert_allclose(data["observation.state"][7], [14.0, 14.1], rtol=1e-6)
    np.testing.assert_allclose(data["action"][7], [2014.0, 2014.1], rtol=1e-6)
    np.testing.assert_allclose(data["plan"][7], [1014.0, 1014.1], rtol=1e-6)
    assert data["mono_ns"][7] == 140 * MS
    assert data["wall_ns"][7] == made.WALL_NS + 140 * MS
    assert data["measured_mono_ns"][7] == [139 * MS] * 2
    assert data["tick.imu_gyro"][7] == [14.0, 14.25, 14.5]
    assert data["tick.command_vx"][7] == 0.5
    assert data["outcome"] == ["success"] * 76 + ["failure"] * 25
    assert data["intervention"] == [0] * 76 + [0] * 10 + [1] * 5 + [0] * 10
    tasks = pq.read_table(folder / "meta/tasks.parquet").to_pydict()
    assert tasks == {"task": ["pick it", "drop it"], "task_index": [0, 1]}
    assert data["task_index"] == [0] * 30 + [1] * 46 + [0] * 25, "that of the last chunk before it"
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in rows] == [76, 25]
    assert [(row["episode_id"], row["outcome"], row["interventions"]) for row in rows] == [
        ("e1", "success", 0),
        ("e2", "failure", 1),
    ]
    assert (rows[0]["notes"], rows[0]["segments"], rows[1]["segments"]) == (["wobbles"], ["a", "b"], ["c"])
    assert (rows[1]["dataset_from_index"], rows[1]["dataset_to_index"]) == (76, 101)


def test_videos_show_the_nearest_frame_at_each_nominal_time(spool, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run(capsys, "--format", "lerobot", "--fps", 25, "--output", folder, spool)[0] == 0
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    data = pq.read_table(folder / "data/chunk-000/file-000.parquet").to_pydict()
    with av.open(str(folder / "videos/observation.images.front/chunk-000/file-000.mp4")) as video:
        shown = [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")) for frame in video.decode()
        ]
    key = "videos/observation.images.front"
    begin = [row[f"{key}/from_timestamp"] for row in rows]
    nominal = [begin[number] + at for number, at in zip(data["episode_index"], data["timestamp"], strict=True)]
    np.testing.assert_allclose([at for at, _ in shown], nominal, atol=1e-4)  # the tolerance of LeRobot
    taken = [round(at / FRAME) for at in data["camera.front.mono_ns"][: rows[0]["length"]]]
    assert taken == [round(number * 40 * MS / FRAME) for number in range(rows[0]["length"])]
    for number, frame in enumerate(taken):
        assert shown[number][1].mean() == pytest.approx(made.grey(frame % 30), abs=2)  # 30 in each part
    stats = json.loads((folder / "meta/stats.json").read_text())["observation.images.front"]
    mean = np.mean([picture for _, picture in shown], axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(np.ravel(stats["mean"]), mean, atol=0.01)
    assert np.shape(stats["q99"]) == (3, 1, 1)


def test_all_and_one_episode(spool, tmp_path, capsys):
    none = [spool / "ready/bulk/d.mcap", spool / "ready/bulk/e.mcap"]
    assert run(capsys, "--format", "lerobot", "--all", "--output", tmp_path / "all", *none)[1]["episodes"] == 2
    code, _, told = run(capsys, "--format", "lerobot", "--output", tmp_path / "none", *none)
    assert (code, "nothing is left to export; found the episodes e3, e4" in told) == (1, True)
    assert (
        run(capsys, "--format", "lerobot", "--episode", "2", "--output", tmp_path / "2", spool)[1]["episodes"] == 1
    )
    code, _, told = run(capsys, "--format", "lerobot", "--output", tmp_path / "all", *none)
    assert (code, "expected an empty or a new one" in told) == (1, True)


def test_without_episodes_each_segment_is_one_and_of_a_missing_part_it_is_told(spool, tmp_path, capsys):
    code, told, remarks = run(
        capsys, "--format", "lerobot", "--output", tmp_path / "out", spool / "ready/bulk/f.mcap"
    )
    assert (code, told["episodes"], told["frames"]) == (0, 1, 25)
    assert "each segment counts as one" in remarks
    part = made.segment(tmp_path / "g.mcap", made.ticks(900, 9), episode=about("e1", 4))
    code, _, remarks = run(
        capsys, "--format", "lerobot", "--output", tmp_path / "two", spool / "ready/bulk/a.mcap", part
    )
    assert "episode e1: part 2, 3 is not among the segments" in remarks
    assert "episode e1: no outcome; it was cut off" in remarks


def test_an_episode_without_frames_of_a_camera_is_left_out(spool, tmp_path, capsys):
    words = ["--all", "--format", "lerobot", "--output", tmp_path / "out", spool]
    code, told, remarks = run(capsys, *words)
    assert (code, told["episodes"]) == (0, 2)
    assert "episode e3: found no frame of camera front: left out" in remarks


def test_where_no_motor_is_commanded_the_action_is_the_position(tmp_path, capsys):
    records = made.ticks(0, 50)
    records["gate"][:20] = 0
    path = made.segment(tmp_path / "a.mcap", records)
    assert run(capsys, "--format", "lerobot", "--output", tmp_path / "out", path)[0] == 0
    data = pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet").to_pydict()
    assert [row[0] for row in data["action"][8:12]] == [16.0, 18.0, 2020.0, 2022.0]
    assert data["commanded"][8:12] == [0, 0, 1, 1]


def test_tables(spool, tmp_path, capsys):
    folder = tmp_path / "out"
    code, told, _ = run(capsys, "--format", "parquet", "--output", folder, spool)
    assert (code, told["ticks"], told["events"], told["chunks"], told["episodes"]) == (0, 195 + 50, 1, 1, 2)
    ticks = pq.read_table(folder / "ticks.parquet").to_pydict()
    assert ticks["tick"] == [*range(195), *range(300, 350)], "those that lie in two segments once"
    assert ticks["elbow.command"][3] == pytest.approx(2003.1)
    assert (ticks["imu_gyro"][3], ticks["segment"][120], ticks["episode_id"][240]) == ([3, 3.25, 3.5], "b", "e2")
    (event,) = pq.read_table(folder / "events.parquet").to_pylist()
    assert (event["name"], event["mono_ns"], event["fields"]) == ("robot.started", 5, '{"a": 1}')
    (chunk,) = pq.read_table(folder / "chunks.parquet").to_pylist()
    assert (chunk["actions"], chunk["prompt"], chunk["task_id"]) == ([[1.0, 2.0]], "drop it", None)
    first, second = pq.read_table(folder / "episodes.parquet").to_pylist()
    assert (first["outcome"], first["segments"], first["notes"]) == ("success", ["a", "b"], '["wobbles"]')
    assert (second["id"], second["robot"], second["started_wall_ns"]) == ("e2", "maker", made.WALL_NS + 3000 * MS)


def test_a_joined_recording_is_one_like_any_other(spool, tmp_path, capsys):
    code, told, _ = run(capsys, "--format", "mcap", "--output", tmp_path / "out", "--episode", "e1", spool)
    whole = Recording(tmp_path / "out/a-cut.mcap")
    assert (code, told["file"]) == (0, str(whole.path))
    parts = [Recording(spool / f"ready/bulk/{name}.mcap") for name in "ab"]
    assert whole.ticks()[0].tobytes() == join(parts)[0].tobytes()
    assert (whole.episode["outcome"], whole.about["robot"], whole.about["cut_from"]) == (
        "success",
        "maker",
        "a, b",
    )
    assert whole.counts["/cameras/front"] == 60
    assert len(whole.chunks()) == 1


def test_a_cut_begins_with_a_key_frame(spool, tmp_path, capsys):
    span = ["--from", "2023-11-14T22:13:20.500Z", "--to", "2023-11-14T22:13:20.700"]  # UTC, with and without zone
    code, _, _ = run(capsys, "--format", "mcap", "--output", tmp_path / "out", *span, spool)
    part = Recording(tmp_path / "out/a-cut.mcap")
    assert code == 0
    assert part.ticks()[0]["tick"].tolist() == list(range(50, 71))
    times = [mono_ns for mono_ns, _ in part.raw("/cameras/front")]
    assert times == [FRAME * number for number in range(10, 22)], "from the key frame, which is every tenth"
    code, _, told = run(capsys, "--format", "mcap", "--output", tmp_path / "no", "--from", "2024-01-01", spool)
    assert (code, "found no message between" in told) == (1, True)


def test_tables_of_a_span_have_the_rows_in_it(spool, tmp_path, capsys):
    span = ["--from", "2023-11-14T22:13:20.500Z", "--to", "2023-11-14T22:13:21.200Z"]
    code, told, _ = run(capsys, "--format", "parquet", "--output", tmp_path / "out", *span, spool)
    assert (code, told["ticks"], told["events"], told["chunks"], told["episodes"]) == (0, 71, 0, 1, 1)
    ticks = pq.read_table(tmp_path / "out/ticks.parquet").to_pydict()
    assert ticks["tick"] == list(range(50, 121)), "both ends count, those in two segments once"
    span[1] = "2023-11-14T22:13:21Z"
    assert run(capsys, "--format", "parquet", "--output", tmp_path / "later", *span, spool)[0] == 0
    (episode,) = pq.read_table(tmp_path / "later/episodes.parquet").to_pylist()
    assert (episode["id"], episode["outcome"], episode["segments"]) == ("e1", "success", ["b"])


def test_a_data_set_of_a_span_has_the_episodes_that_begin_in_it(spool, tmp_path, capsys):
    span = ["--from", "2023-11-14T22:13:21Z", "--to", "2023-11-14T22:13:23Z"]
    words = ["--format", "lerobot", "--output", tmp_path / "out", *span, spool]
    code, told, _ = run(capsys, *words)
    assert (code, told["episodes"], told["frames"]) == (0, 1, 25), "e2 begins at the last moment, e1 began before"


@pytest.mark.parametrize("form", ["lerobot", "parquet"])
def test_nothing_between_two_times(spool, tmp_path, capsys, form):
    words = ["--format", form, "--output", tmp_path / "out", "--to", "2020-01-01", spool]
    code, _, told = run(capsys, *words)
    assert (code, "found no episode between --from and --to" in told) == (1, True)


def test_key_frames_are_known_by_their_format():
    class Video:
        name = "foxglove_msgs/msg/CompressedVideo"

    # 0x41: a slice of H.264 that needs others, which would be a VPS in H.265; 0x67: SPS; 0x40: VPS of H.265.
    assert not cut.is_key(Video(), made.message(b"\x00\x00\x00\x01\x41\x9a"))
    assert cut.is_key(Video(), made.message(b"\x00\x00\x00\x01\x09\x10\x00\x00\x01\x67\x42"))
    assert cut.is_key(Video(), made.message(b"\x00\x00\x00\x01\x40\x01", "h265"))
    assert not cut.is_key(Video(), made.message(b"\x00\x00\x00\x01\x02\x01", "h265"))


def test_a_missing_package_and_wrong_arguments(spool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    code, _, told = run(capsys, "--format", "lerobot", "--output", tmp_path / "out", spool)
    assert (
        code,
        "pyarrow, av, mcap_ros2 is missing; install the extra: pip install 'reflexd[export]'" in told,
    ) == (
        1,
        True,
    )
    for wrong in (["--fps", "0"], ["--from", "yesterday"]):
        with pytest.raises(SystemExit, match="2"):
            run(capsys, "--format", "mcap", "--output", tmp_path / "out", *wrong, spool)


def test_nearest():
    times = np.array([0, 10, 20])
    assert nearest(times, np.array([-5, 4, 5, 6, 19, 99])).tolist() == [0, 0, 0, 1, 2, 2]
    assert nearest(times[:1], np.array([-5, 7])).tolist() == [0, 0]


def test_statistics_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(size=(100, 3)) * [1, 10, 100]
    merged = statistics.merge([statistics.of_column(values[:30]), statistics.of_column(values[30:])])
    whole = statistics.of_column(values)
    for key in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(merged[key], whole[key])
    values[5, 1] = np.nan
    assert statistics.of_column(values)["count"] == [99], "what was never measured does not count"
    assert statistics.of_column(np.full((3, 1), np.nan)) is None


def test_statistics_of_images():
    pictures = np.random.default_rng(1).integers(0, 256, (5, 60, 80, 3), np.uint8)
    found = statistics.of_images(sum(statistics.levels(picture) for picture in pictures), 5)
    pixels = pictures.reshape(-1, 3) / 255
    np.testing.assert_allclose(found["mean"].ravel(), pixels.mean(0))
    np.testing.assert_allclose(found["std"].ravel(), pixels.std(0))
    np.testing.assert_allclose(found["q90"].ravel(), np.quantile(pixels, 0.9, axis=0), atol=1 / 255)
