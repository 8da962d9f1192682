"""What the reader gives back of segments."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.recording import reader
from runtime.recording.reader import Recording, RecordingError, find, join
from runtime.recording.trace import TraceLayout
from tests.export import made


def test_ticks_are_an_array_with_names(tmp_path):
    recording = Recording(made.segment(tmp_path / "a.mcap", made.ticks(0, 30)))
    ticks, walls = recording.ticks()
    assert recording.joints == ["Waist", "elbow"], "as in the config, not in lower case"
    assert ticks["tick"].tolist() == list(range(30))
    np.testing.assert_array_equal(ticks["joints"]["position"], np.arange(30)[:, None] + [0.0, 0.1])
    np.testing.assert_allclose(ticks["joints"]["age_s"], 1e-3)
    assert ticks["imu_gyro"][7].tolist() == [7.0, 7.25, 7.5]
    assert ticks["command_vx"][7] == 0.5
    assert walls.tolist() == [made.WALL_NS + 10_000_000 * number for number in range(30)]
    assert reader.column(ticks, "novelty").tolist() == [0] * 30, "an older release had no such field"


def test_fields_that_are_new_are_found(tmp_path):
    definition = made.LAYOUT.definition.replace("float64 command_vx", "int64 novelty")
    assert definition != made.LAYOUT.definition
    recording = Recording(made.segment(tmp_path / "a.mcap", made.ticks(0, 3), definition=definition))
    half = int(np.float64(0.5).view(np.int64))
    assert reader.column(recording.ticks()[0], "novelty").tolist() == [half] * 3


def test_a_field_of_another_width_is_refused():
    with pytest.raises(ValueError, match="found the field 'bool b' in a tick"):
        reader.parse(TraceLayout(["a"], {}, []).definition.replace("int64 gate", "bool b"))


def test_a_long_chunk_is_put_together(tmp_path):
    parts = [made.chunk(0, 5, [[1.0]] * 3), made.chunk(0, 5, [[2.0]] * 2, first=3), made.chunk(7, 9, [[3.0]])]
    recording = Recording(made.segment(tmp_path / "a.mcap", made.ticks(0, 3), chunks=parts))
    chunks = recording.chunks()
    assert [chunk.actions.ravel().tolist() for chunk in chunks] == [[1, 1, 1, 2, 2], [3]]
    assert [chunk.about["t0_mono_ns"] for chunk in chunks] == [0, 7]


def test_ticks_that_lie_in_two_segments_count_once(tmp_path):
    one = Recording(made.segment(tmp_path / "a.mcap", made.ticks(0, 30)))
    two = Recording(made.segment(tmp_path / "b.mcap", made.ticks(25, 30)))
    ticks, walls = join([one, two])
    assert ticks["tick"].tolist() == list(range(55))
    assert (np.diff(walls) == 10_000_000).all()


def test_segments_of_different_robots_do_not_join(tmp_path):
    one = Recording(made.segment(tmp_path / "a.mcap", made.ticks(0, 3)))
    definition = made.LAYOUT.definition.replace("command_vx", "command_vy")
    two = Recording(made.segment(tmp_path / "b.mcap", made.ticks(3, 3), definition=definition))
    with pytest.raises(RecordingError, match=r"b\.mcap: found ticks of another robot"):
        join([one, two])


def test_files_folders_and_names(tmp_path):
    spool = tmp_path / "spool"
    late = made.segment(spool / "ready/bulk/late.keep.mcap", made.ticks(500, 3))
    early = made.segment(spool / "sent/safety/early.mcap", made.ticks(0, 3))
    made.segment(spool / "open/now.mcap", made.ticks(900, 3))
    assert [recording.path for recording in find([str(spool)], spool)] == [early, late]
    assert [recording.path for recording in find(["late", str(early), str(spool)], spool)] == [early, late]
    with pytest.raises(RecordingError, match="nothing: found no such file, and no segment of this name in"):
        find(["nothing"], spool)
    with pytest.raises(RecordingError, match="found no recording in this folder"):
        find([str(tmp_path / "spool/open")], spool)


def test_a_file_that_is_no_whole_recording(tmp_path):
    path = made.segment(tmp_path / "a.mcap", made.ticks(0, 300))
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(RecordingError, match=r"a\.mcap: found no whole recording of reflexd .*mcap recover"):
            Recording(path)
