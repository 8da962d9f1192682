"""The options that all remote backends share: what goes to a server under which name, what is taken from it."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runtime.policy.worker.backends import REMOTE
from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape
from runtime.policy.worker.remote.images import resize
from runtime.policy.worker.remote.key import api_key
from runtime.policy.worker.remote.options import KINDS, Part, WrongOptions, read
from runtime.policy.worker.remote.parts import Parts

GIVEN = {"threads": 1, "timeout": 2.0, "period": 0.02, "horizon": 4, "action_size": 3}
URL = "ws://gpu.local:9000"


def options(**more):
    return read("openpi", {"url": URL, "keys": {"state": [0, 5]}, **GIVEN, **more})


def test_what_is_left_out():
    found = options()
    assert (found.host, found.port, found.encrypted) == ("gpu.local", 9000, False)
    assert found.deadline_s == 1.5, "safely before the worker counts as hung"
    assert (found.prompt, found.actions, found.columns) == ("prompt", "actions", None)
    assert (found.address, options(url="ws://[::1]:90").address) == ("gpu.local:9000", "[::1]:90")
    assert (options(url="wss://gpu").port, options(url="wss://gpu").encrypted) == (8000, True)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"url": "http://gpu"}, 'url: found "http://gpu", expected ws://HOST:PORT or wss://'),
        ({"url": "ws://"}, 'url: found "ws://"'),
        ({"url": "ws://gpu:99999"}, "url: found"),
        ({"url": "ws://me:secret@gpu"}, "url: found"),
        ({"url": 3}, "url: found 3"),
        ({"deadline": 1.7}, r"deadline: found 1.7, expected seconds, at most 1.6: 80% of policy.timeout"),
        ({"deadline": 0}, "deadline: found 0"),
        ({"deadline": True}, "deadline: found true"),
        ({"keys": {}}, "keys: found {}, expected the server's names"),
        ({"keys": {"state": [3, 3]}}, "keys: found"),
        ({"keys": {"state": [-1, 3]}}, "keys: found"),
        ({"keys": {"state": [0, 1, 2]}}, "keys: found"),
        ({"keys": {"state": [0.0, 1.0]}}, "keys: found"),
        ({"keys": {"image": {"picture": ""}}}, "keys: found"),
        ({"keys": {"image": {"picture": 3}}}, "keys: found"),
        ({"keys": {"image": {"picture": "front", "size": [8]}}}, "keys: found"),
        ({"keys": {"image": {"picture": "front", "quality": 0}}}, "keys: found"),
        ({"keys": {"image": {"picture": "front", "scale": 2}}}, "keys: found"),
        ({"columns": [2, 1]}, "columns: found"),
        ({"prompt": 1}, "prompt: found 1, expected a text"),
        ({"ca": "/no/such.pem"}, "ca: found .*, expected the whole path of a PEM file that is there"),
        ({"gpu": 1}, "gpu: found an unknown option, expected one of url, ca, deadline"),
    ],
)
def test_mistakes(wrong, error):
    with pytest.raises(BackendError, match=f"backend openpi: .*options\\.{error}"):
        options(**wrong)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["url", "keys", "deadline", "columns", "prompt", "ca", "x"]), ANYTHING))
def test_whatever_a_config_says_is_read_or_refused(values):
    with contextlib.suppress(WrongOptions):
        options(**values)


@given(st.text())
def test_whatever_an_url_is_it_is_read_or_refused(text):
    with contextlib.suppress(WrongOptions):
        options(url=f"ws://{text}")


def test_every_remote_backend_has_its_options():
    assert KINDS.keys() == REMOTE.keys()


def test_all_mistakes_are_told_at_once():
    with pytest.raises(WrongOptions) as caught:
        options(gpu=1, url="", deadline=9, columns=[1])
    assert list(caught.value.problems) == ["gpu", "url", "deadline", "columns"]


def test_the_observation_goes_under_the_names_of_the_server():
    parts = Parts("openpi", options(keys={"observation/state": [0, 2], "gripper": [2, 3]}).keys)
    sent = parts.of(np.array([1, 2, 3], np.float32), {})
    assert {name: values.tolist() for name, values in sent.items()} == {
        "observation/state": [1, 2],
        "gripper": [3],
    }
    with pytest.raises(WrongShape, match=r"'gripper' takes the values 2 to 3, but .* config give 2"):
        parts.of(np.zeros(2, np.float32), {})


def test_a_picture_goes_as_an_array_or_as_a_file():
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, :, 0] = 255
    shared = {"picture": "front"}
    keys = {
        "state": [0, 1],
        "plain": shared,
        "small": {**shared, "size": [4, 4]},
        "file": {**shared, "size": [32, 32], "quality": 90},
    }
    sent = Parts("openpi", options(keys=keys).keys).of(np.array([7], np.float32), {"front": picture})
    assert sent["state"].tolist() == [7.0]
    assert sent["plain"].dtype == np.uint8
    assert sent["plain"].shape == (8, 16, 3)
    assert sent["plain"][0, 0].tolist() == [255, 0, 0]
    assert sent["small"][:, 0].tolist() == [[0, 0, 0], [255, 0, 0], [255, 0, 0], [0, 0, 0]], (
        "padded, not stretched"
    )
    opened = Image.open(io.BytesIO(sent["file"]))
    assert (opened.format, opened.size) == ("JPEG", (32, 32))
    assert np.asarray(opened)[16, 16].tolist() == pytest.approx([255, 0, 0], abs=8)
    assert len(sent["file"]) < 32 * 32 * 3 / 2


@pytest.mark.parametrize(("height", "width"), [(224, 224), (10, 40), (40, 10), (7, 5), (1, 1)])
def test_pictures_keep_their_proportions(height, width):
    white = np.full((30, 60, 3), 255, np.uint8)
    resized = resize(white, height, width, Image)
    assert resized.shape == (height, width, 3)
    rows, columns = (np.flatnonzero(resized[:, :, 0].max(axis=axis)) for axis in (1, 0))
    ratio = min(height / 30, width / 60)
    assert len(rows) == max(1, int(30 * ratio))
    assert len(columns) == max(1, int(60 * ratio))
    assert resized[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].min() == 255


def test_a_picture_of_the_right_size_stays_as_it_is():
    parts = Parts("openpi", {"image": Part(picture="front", size=(2, 2))})
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert parts.of(np.zeros(0, np.float32), {"front": picture})["image"].ravel().tolist() == list(range(12))


@pytest.mark.parametrize(
    ("actions", "error"),
    [
        (np.array([object()]), "ws://gpu.local:9000: found actions of type object, expected an array of numbers"),
        (np.array(["1"]), "of type <U1"),
        (np.array([1j]), "of type complex128"),
        (np.array([True]), "of type bool"),
        (np.float32(1), "of type float32"),
        ([[1.0]], "of type list"),
        (None, "of type NoneType"),
        (np.zeros((4, 2)), "options.columns: found 1 to 3, but an action from .* has 2 values"),
    ],
)
def test_actions_that_are_none(actions, error):
    with pytest.raises(WrongShape, match=error):
        options(columns=[1, 3]).chunk(actions)


def test_actions_are_cut_and_have_to_be_finite():
    chosen = options(columns=[1, 3])
    actions = np.arange(8.0).reshape(2, 4)
    assert chosen.chunk(actions).tolist() == [[1.0, 2.0], [5.0, 6.0]]
    actions[1, 0] = np.nan
    assert chosen.chunk(actions).tolist() == [[1.0, 2.0], [5.0, 6.0]], "what is not used may be anything"
    for bad in (np.nan, np.inf, -np.inf):
        actions[1, 2] = bad
        with pytest.raises(Unavailable, match="its actions are not finite"):
            chosen.chunk(actions)


def test_the_key_comes_from_systemd_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("REFLEXD_POLICY_KEY", raising=False)
    assert api_key() == ""
    monkeypatch.setenv("REFLEXD_POLICY_KEY", "from-the-environment")
    assert api_key() == "from-the-environment"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert api_key() == "from-the-environment", "a credential that is not there is no mistake"
    (tmp_path / "policy.key").write_text("from-systemd\n")
    assert api_key() == "from-systemd"
    (tmp_path / "policy.key").write_text("two\r\nX-Evil: header")
    with pytest.raises(BackendError, match=r"policy\.key: found more than one word") as caught:
        api_key()
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ({}, "'image' takes the picture 'front'; found none"),
        ({"back": np.zeros((2, 2, 3), np.uint8)}, "found back"),
        ({"front": np.zeros((2, 2, 3), np.float32)}, "needs uint8"),
        ({"front": np.zeros((3, 2, 2), np.uint8)}, r"found uint8 of shape \[3, 2, 2\]"),
    ],
)
def test_a_picture_that_cannot_be_sent(pictures, message):
    parts = Parts("openpi", {"image": Part(picture="front", quality=90)})
    with pytest.raises(WrongShape, match=message):
        parts.of(np.zeros(0, np.float32), pictures)
