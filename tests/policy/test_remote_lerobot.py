"""The client of LeRobot's policy server, and servers that are away, slow or lie."""

from __future__ import annotations

import asyncio
import os
import pickle

import numpy as np
import pytest

pytest.importorskip("grpc", reason="grpcio is not installed: the extra remote")
pytest.importorskip("google.protobuf", reason="protobuf is not installed: the extra remote")

from runtime.policy.worker.errors import BackendError, Unavailable
from runtime.policy.worker.remote import lerobot_wire as wire
from runtime.policy.worker.remote.lerobot import LeRobotBackend, LeRobotPeer
from runtime.policy.worker.remote.options import Part, read
from tests.policy.lerobot_server import LeRobotServer, TimedAction, installed, ramp

HORIZON = 4
PATIENCE_S = 20.0
GIVEN = {"threads": 1, "timeout": 10.0, "period": 0.02, "horizon": HORIZON, "action_size": 3}
KEYS = {"observation.state": Part(1, 3)}
STATE = {"observation.state": np.array([0.5, 2.0], np.float32)}


@pytest.fixture(autouse=True)
def classes():
    with installed():
        yield


@pytest.fixture
def server():
    server = LeRobotServer()
    yield server
    server.close()


def options(port, **more):
    return {
        "url": f"grpc://127.0.0.1:{port}",
        "keys": {"observation.state": [1, 3]},
        "policy": "lab/policy",
        "type": "act",
        "device": "cuda",
        **more,
    }


@pytest.fixture
def client():
    """Makes clients of a server that are connected, and closed in the end."""
    made = []

    def make(server, keys=KEYS):
        policy = wire.policy("act", "lab/policy", "cuda", HORIZON, keys)
        made.append(LeRobotPeer(read("lerobot", {**GIVEN, **options(server.port)}), policy))
        made[-1].connect(PATIENCE_S)
        return made[-1]

    yield make
    for each in made:
        each.close()


class TestWellServed:
    def test_the_server_is_told_what_to_load(self, server, client):
        client(server)
        assert server.heard == ["Ready", "SendPolicyInstructions"]
        assert vars(server.policy) == {
            "policy_type": "act",
            "pretrained_name_or_path": "lab/policy",
            "lerobot_features": {
                "observation.state": {"dtype": "float32", "shape": (2,), "names": ["value_0", "value_1"]}
            },
            "actions_per_chunk": HORIZON,
            "device": "cuda",
            "rename_map": {},
        }

    def test_every_observation_must_go_and_has_a_timestep_of_its_own(self, server, client):
        peer = client(server)
        for _ in range(3):
            chunk = peer.ask({**STATE, "task": "pick"}, PATIENCE_S)
            assert chunk.tolist() == [[i + 2.5] * 3 for i in range(HORIZON)]
        assert [each.timestep for each in server.observations] == [1, 2, 3]
        assert all(each.must_go is True for each in server.observations)
        assert server.observations[0].observation == {"value_0": 0.5, "value_1": 2.0, "task": "pick"}

    def test_a_picture_goes_in_pieces(self, server, client):
        keys = {**KEYS, "observation.images.front": Part(picture="front", size=(1000, 1600))}
        peer = client(server, keys)
        features = server.policy.lerobot_features["observation.images.front"]
        assert features == {"dtype": "image", "shape": (1000, 1600, 3), "names": ["height", "width", "channels"]}
        picture = np.arange(4_800_000).astype(np.uint8).reshape(1000, 1600, 3)
        peer.ask({**STATE, "observation.images.front": picture}, PATIENCE_S)
        assert server.pieces == [1, 2, 3]
        assert np.array_equal(server.observations[0].observation["front"], picture)

    @pytest.mark.parametrize(
        ("size", "states"),
        [(1, [3]), (2 << 20, [3]), ((2 << 20) + 1, [1, 3]), (4 << 20, [1, 3]), (7 << 20, [1, 2, 2, 3])],
    )
    def test_pieces(self, size, states):
        data = os.urandom(size)
        found = list(wire.pieces(data))
        assert [state for state, _ in found] == states
        assert b"".join(part for _, part in found) == data
        assert max(len(part) for _, part in found) <= 2 << 20


def with_steps(*steps):
    return lambda observation: pickle.dumps(
        [TimedAction(0.0, observation.timestep + step, np.zeros(3, np.float32)) for step in steps]
    )


def instead(value):
    return lambda observation: pickle.dumps(value)


class Evil:
    def __reduce__(self):
        return os.system, ("touch was_here",)


def as_action(value):
    return lambda observation: pickle.dumps([TimedAction(0.0, observation.timestep, value)])


LIES = {
    "the answer to the observation before": (with_steps(-1, 0, 1, 2), "another observation"),
    "one action twice": (with_steps(0, 1, 1, 2), "another observation"),
    "an action left out": (with_steps(0, 1, 3), "another observation"),
    "no actions": (with_steps(), "no list of 1 to 1000 actions"),
    "thousands of actions": (with_steps(*range(1001)), "no list of 1 to 1000 actions"),
    "another type": (instead({"a": 1}), "no list"),
    "a list of something else": (instead([1, 2]), "expected a TimedAction"),
    "no array": (as_action([0.0, 0.0, 0.0]), "expected a tensor or an array"),
    "texts": (as_action(np.array(["a", "b", "c"])), "another type"),
    "a huge action": (as_action(np.zeros(1001, np.float32)), r"shape \[1001\]"),
    "a table as an action": (as_action(np.zeros((2, 3), np.float32)), r"shape \[2, 3\]"),
    "a program": (instead(Evil()), "it names"),
    "a program in an action": (as_action(Evil()), "it names"),
    "no pickle": (lambda observation: b"abc", "refused a pickle"),
    "half a pickle": (lambda observation: pickle.dumps(ramp(observation, 4))[:-20], "refused a pickle"),
}


class TestFaults:
    @pytest.mark.parametrize(("answer", "words"), LIES.values(), ids=LIES)
    def test_a_lie_is_refused_and_nothing_of_it_runs(self, server, client, answer, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        peer = client(server)
        server.answer = answer
        with pytest.raises(Unavailable, match=words):
            peer.ask(dict(STATE), PATIENCE_S)
        assert not list(tmp_path.iterdir())
        server.answer = server.well
        assert len(peer.ask(dict(STATE), PATIENCE_S)) == HORIZON

    def test_more_than_a_message_may_have(self, server, client):
        peer = client(server)
        server.answer = lambda observation: bytes(17 << 20)
        with pytest.raises(Unavailable, match="larger than max"):
            peer.ask(dict(STATE), PATIENCE_S)

    def test_a_slow_answer_is_not_waited_for_and_costs_no_second_load(self, server, client):
        peer = client(server)
        server.answer = server.slow
        with pytest.raises(TimeoutError):
            peer.ask(dict(STATE), 0.1)
        server.answer = server.well
        peer.close()
        peer.connect(PATIENCE_S)
        assert len(peer.ask(dict(STATE), PATIENCE_S)) == HORIZON
        assert server.heard == ["Ready", "SendPolicyInstructions", "Ready"]

    def test_a_call_under_way_ends_when_the_connection_is_cut(self, server, client):
        """As `Link` does, from another thread."""
        peer = client(server)

        def cut(observation):
            peer.close()
            return server.well(observation)

        server.answer = cut
        with pytest.raises(TimeoutError):
            peer.ask(dict(STATE), PATIENCE_S)

    def test_a_failed_inference_has_the_policy_loaded_again(self, server, client):
        peer = client(server)
        server.answer = lambda observation: b""
        with pytest.raises(Unavailable, match="the server had no actions; its log says why"):
            peer.ask(dict(STATE), PATIENCE_S)
        peer.connect(PATIENCE_S)
        assert server.heard == ["Ready", "SendPolicyInstructions"] * 2

    def test_a_server_that_is_away_and_comes_back_is_told_what_to_load(self, server, client):
        peer = client(server)
        server.close()
        with pytest.raises(Unavailable, match="unavailable: "):
            peer.ask(dict(STATE), PATIENCE_S)
        peer.close()
        again = LeRobotServer(server.port)
        try:
            peer.connect(PATIENCE_S)
            assert again.heard == ["Ready", "SendPolicyInstructions"]
            assert len(peer.ask(dict(STATE), PATIENCE_S)) == HORIZON
        finally:
            again.close()

    def test_a_server_that_was_started_again_while_nobody_asked_is_told_what_to_load(self, server, client):
        peer = client(server)
        server.close()
        again = LeRobotServer(server.port)
        try:
            with pytest.raises(Unavailable):
                peer.ask(dict(STATE), PATIENCE_S)
            peer.connect(PATIENCE_S)
            assert again.heard == ["Ready", "SendPolicyInstructions"]
        finally:
            again.close()

    def test_nobody_at_that_port(self, server, client):
        server.close()
        with pytest.raises(Unavailable, match=r"unavailable: .*onnect"):
            client(server)

    def test_a_policy_that_cannot_be_loaded(self, server, client):
        def load():
            raise FileNotFoundError("no config.json in lab/policy")

        server.load = load
        with pytest.raises(
            BackendError, match=r"cannot load the policy: .*no config\.json .* correct options\.policy"
        ):
            client(server)


class TestOptions:
    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"keys": {}}, "options.keys: found {}"),
            ({"keys": {"state": [0, 3]}}, "options.keys: found state, expected observation.state and pictures"),
            (
                {"keys": {"observation.state": [0, 3], "effort": [3, 5]}},
                "found observation.state, effort, expected",
            ),
            ({"policy": ""}, 'options.policy: found "", expected a text'),
            ({"type": 3}, "options.type: found 3"),
            ({"device": None}, "options.device: found null"),
            ({"url": "ws://a:1"}, "grpc://HOST:PORT or grpcs://"),
            ({"speed": 3}, "options.speed: found an unknown option"),
        ],
    )
    def test_a_mistake_is_told(self, more, words):
        with pytest.raises(BackendError, match=words):
            LeRobotBackend("", {**GIVEN, **options(1, **more)})

    def test_a_picture_cannot_go_as_jpeg(self):
        keys = {
            "observation.state": [0, 3],
            "observation.images.front": {"picture": "front", "size": [2, 2], "quality": 90},
        }
        with pytest.raises(BackendError, match="size and without quality"):
            LeRobotBackend("", {**GIVEN, **options(1, keys=keys)})


class TestInTheWorker:
    def rig(self, rig, server, **more):
        return rig(backend="lerobot", options=options(server.port, **more))

    async def test_chunks_arrive_with_the_task(self, rig, server):
        r = self.rig(rig, server)
        r.worker.set_task("pick")
        await r.worker.start()
        r.worker.observation[:] = [9, 0.25, 1.0, 9, 9]
        assert r.worker.request(r.now())
        await r.until(lambda: r.chunks, "a chunk")
        assert r.chunks[0].actions.tolist() == [[i + 1.25] * 3 for i in range(HORIZON)]
        r.worker.set_task("place")
        await r.chunk()
        assert [each.observation["task"] for each in server.observations] == ["pick", "pick", "place"]

    async def test_a_server_that_is_away_at_the_start_and_later_costs_no_worker(self, rig, server):
        server.close()
        r = self.rig(rig, server)
        await r.worker.start()
        assert not r.worker.ready
        first = LeRobotServer(server.port)
        await r.until(lambda: r.worker.ready, "the server")
        await r.chunk()
        pid = r.worker.pid
        first.close()
        r.ask()
        await r.until(lambda: r.worker.failures["unavailable"] > 1 and not r.worker.busy, "an answer")
        second = LeRobotServer(server.port)
        try:
            seen = len(r.chunks)
            while len(r.chunks) == seen:
                if not r.worker.busy:
                    r.ask()
                await asyncio.sleep(0.02)
        finally:
            second.close()
        assert second.heard == ["Ready", "SendPolicyInstructions"]
        assert r.worker.pid == pid
        assert not set(r.worker.failures) - {"unavailable"}

    async def test_numbers_that_are_none_are_not_used(self, rig, server):
        r = self.rig(rig, server)
        await r.worker.start()
        server.answer = lambda observation: pickle.dumps(
            [TimedAction(0.0, observation.timestep + i, np.full(3, np.nan, np.float32)) for i in range(HORIZON)]
        )
        r.ask()
        assert "not finite" in (await r.failure("unavailable")).message
        assert not r.chunks

    async def test_another_horizon_is_told_at_the_start(self, rig, server):
        server.answer = lambda observation: pickle.dumps(ramp(observation, HORIZON - 1))
        with pytest.raises(Exception, match=r"found output of shape \[3, 3\], expected \[4, 3\]"):
            await self.rig(rig, server).worker.start()
