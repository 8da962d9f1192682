"""What is sent, when, and what proves it, against a real S3-compatible server and the link to it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.spool.files import Files
from runtime.spool.keeper import Keeper
from runtime.spool.layout import Class, folders
from runtime.spool.retention import Caps
from runtime.spool.upload import uploader as uploader_module
from runtime.spool.upload.store import Store, UploadError, redacted
from runtime.spool.upload.sums import PART, Sums
from runtime.spool.upload.uploader import Rules, Uploader
from tests.spool.segments import make_segment, tree
from tests.spool.server import BUCKET, CREDENTIALS, Link, checked_credentials, http, s3

obstore = pytest.importorskip("obstore", reason="the package obstore (extra upload) is not installed")
DATA, _ = make_segment()
ALWAYS = dict.fromkeys(Class, "always")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3() as url:
        yield url


@pytest.fixture
def link(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(uploader_module, "_FIRST_S", 0.05)
    monkeypatch.setattr(uploader_module, "_LONGEST_S", 0.1)
    monkeypatch.setattr(uploader_module, "_LOOK_S", 0.02)
    made = Link(int(server.rpartition(":")[2]))
    yield made
    made.close()


def s3_store(link: Link, prefix: str, confirm: str = "checksum") -> Store:
    # The library's own attempts only take time here.
    return Store(f"s3://{BUCKET}/{prefix}", link.url, "us-east-1", confirm, None, retries=0)


class Robot:
    """A spool that is uploaded."""

    def __init__(self, root: Path, store: Store, when: dict[Class, str] = ALWAYS) -> None:
        self.root = root
        self.store = store
        self.told: list[str] = []
        self.messages: list[str] = []
        self.keeper = Keeper(root, Caps(10**9, 0), Files(), self._tell)
        self.keeper.begin()
        rules = Rules("f", "r", when, (), ())
        self.uploader = Uploader(store, rules, self.keeper, asyncio.Lock(), self._tell)

    def _tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        self.told.append(name)
        self.messages.append(message)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.keeper.look()
        task = asyncio.create_task(self.uploader.run())
        yield
        assert not task.done(), task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def objects(self) -> list[str]:
        return sorted(str(entry["path"]) for page in obstore.list(self.store._store) for entry in page)

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self.store._store, key).bytes())

    def segment(self) -> bytes:
        """The only segment on the server, put together as its manifest says."""
        (key,) = [key for key in self.objects() if key.endswith(".mcap.json")]
        told = json.loads(self.get(key))
        parts = [(self.get(part["key"]), part) for part in told["parts"]]
        assert all(Sums.of(data).sha256 == part["sha256"] for data, part in parts)
        return b"".join(data for data, _ in parts)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def put(root: Path, where: str, data: bytes = DATA) -> None:
    Files().prepare(folders(root))
    (root / where).write_bytes(data)


def sent(root: Path) -> list[str]:
    return [path for path in tree(root) if path.startswith("sent")]


@pytest.mark.parametrize("kind", ["s3", "file"])
async def test_a_segment_its_manifest_and_the_loss_of_another_arrive(
    tmp_path: Path, link: Link, kind: str
) -> None:
    root = tmp_path / "spool"
    put(root, "ready/safety/r-1.mcap")
    put(root, "lost/bulk/r-0.77.size_max", b"")
    store = (
        s3_store(link, "arrive")
        if kind == "s3"
        else Store(f"file://{tmp_path}/server", None, None, "checksum", None)
    )
    robot = Robot(root, store)
    async with robot.running():
        await until(lambda: not list(root.glob("ready/*/*")) and not list(root.glob("lost/*/*")))
    assert list(tree(root)) == ["reported/bulk/r-0.77.size_max", "sent/safety/r-1.mcap"]
    segment, about, lost = robot.objects()
    assert lost.startswith("fleet=f/robot=r/date=20"), "the day of the loss"
    assert lost.endswith("/class=bulk/r-0.77.lost.json")
    assert json.loads(robot.get(lost)) | {"fleet": "f"} == {
        "segment": "r-0",
        "lost": "size_max",
        "bytes": 77,
        "fleet": "f",
        "robot": "r",
        "class": "bulk",
    }
    assert robot.get(segment) == DATA
    sums = Sums.of(DATA)
    assert segment == f"fleet=f/robot=r/date=1970-01-01/class=safety/r-1-{sums.sha256[:12]}.mcap"
    assert about == f"{segment}.json"
    told = json.loads(robot.get(about))
    assert (told["sha256"], told["bytes"], told["key"]) == (sums.sha256, len(DATA), segment)
    assert (told["class"], told["messages"], told["last_ns"]) == ("safety", 15, 11_000_000)


async def test_plain_http_is_believed_for_what_it_gives_back(tmp_path: Path, link: Link) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    put(tmp_path, "ready/bulk/r-2.mcap", DATA + os.urandom(PART))
    with http() as server:
        robot = Robot(tmp_path, Store(f"{server.url}/robots", None, None, "checksum", None))
        async with robot.running():
            await until(lambda: len(sent(tmp_path)) == 2)
        paths = [path for path in server.objects if path.endswith(".mcap")]
        assert server.objects[paths[0]] == DATA
        assert paths[0].startswith("/robots/fleet"), paths


async def test_a_server_that_keeps_something_else_is_not_believed(tmp_path: Path, link: Link) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    with http() as server:
        server.corrupts = True
        robot = Robot(tmp_path, Store(f"{server.url}/robots", None, None, "checksum", None))
        async with robot.running():
            await until(lambda: robot.told)
            assert sent(tmp_path) == []
            assert "another content" in robot.messages[0]
            server.corrupts = False
            await until(lambda: sent(tmp_path))
        assert next(iter(server.objects.values())) == DATA


async def test_a_directory_that_keeps_something_else_is_not_believed(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/server", None, None, "checksum", None)

    class Bad:
        async def put_async(self, store: Any, key: str, data: bytes, **more: Any) -> Any:
            return await obstore.put_async(store, key, data[:-1] + b"?", **more)

    store._obstore = Bad()
    with pytest.raises(UploadError, match="another content"):
        await store.put("a/b", lambda: DATA, Sums.of(DATA, store.needs_md5), (0, ""))


async def test_the_most_valuable_goes_first_then_the_oldest(
    tmp_path: Path, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploader_module, "_AT_ONCE", 1)  # so that they arrive in the order in which they begin
    for kind in Class:
        for number in (2, 1):
            put(tmp_path, f"ready/{kind}/r-{kind}{number}.mcap")
    robot = Robot(tmp_path, s3_store(link, "order"))
    async with robot.running():
        await until(lambda: robot.told.count("upload.sent") == 10)
    order = [
        message.split()[0] for name, message in zip(robot.told, robot.messages, strict=True) if "sent" in name
    ]
    assert order == [f"r-{kind}{n}" for kind in reversed(Class) for n in (1, 2)]


@pytest.mark.parametrize("status", [401, 403, 412, 500, 503])
async def test_a_server_that_says_no_has_nothing_and_gets_it_later(
    tmp_path: Path, link: Link, status: int
) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    put(tmp_path, "ready/bulk/r-2.mcap")
    robot = Robot(tmp_path, s3_store(link, f"no{status}"))
    link.answer = status
    async with robot.running():
        await until(lambda: len(link.puts) >= 4)
        assert sent(tmp_path) == []
        assert robot.told == ["upload.failed"], "told once"
        assert str(status) in robot.uploader.status()["trouble"]
        link.answer = 0
        await until(lambda: len(sent(tmp_path)) == 2)
    assert robot.told.count("upload.back") == 1
    assert robot.uploader.status()["trouble"] is None


async def test_a_segment_that_the_server_refuses_does_not_keep_the_others(tmp_path: Path, link: Link) -> None:
    for number in range(4):
        put(tmp_path, f"ready/bulk/r-{number}.mcap")
    robot = Robot(tmp_path, s3_store(link, "one"))
    link.answer, link.answer_for = 412, "/r-0-"
    async with robot.running():
        await until(lambda: len(sent(tmp_path)) == 3)
        assert [path for path in tree(tmp_path) if path.startswith("ready")] == ["ready/bulk/r-0.mcap"]
        link.answer = 0
        await until(lambda: len(sent(tmp_path)) == 4)


async def test_wrong_credentials_send_nothing_and_are_not_told(
    tmp_path: Path, server: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    robot = Robot(tmp_path, s3_store(link, "wrong"))
    with checked_credentials(server):
        async with robot.running():
            await until(lambda: robot.told)
        assert "403" in robot.messages[0]
    assert sent(tmp_path) == []
    assert robot.objects() == []
    assert not any(value in robot.messages[0] for name, value in CREDENTIALS.items() if "KEY" in name)


async def test_a_server_that_restarts(tmp_path: Path, link: Link) -> None:
    for number in range(3):
        put(tmp_path, f"ready/bulk/r-{number}.mcap")
    robot = Robot(tmp_path, Store("http://127.0.0.1:1/", None, None, "checksum", None))
    with http() as server:
        robot.uploader._store = Store(server.url, None, None, "checksum", None, retries=0)
        async with robot.running():
            await until(lambda: sent(tmp_path))
            port, objects = server.server_address[1], server.objects
            server.shutdown()
            server.server_close()
            for number in range(3, 6):
                put(tmp_path, f"ready/bulk/r-{number}.mcap")
            robot.keeper.look()
            await until(lambda: "upload.failed" in robot.told)
            with http(port, objects):
                await until(lambda: len(sent(tmp_path)) == 6)
    assert sorted(path.rsplit("/", 1)[1][:3] for path in objects if path.endswith(".mcap")) == [
        f"r-{number}" for number in range(6)
    ], "each once"


async def test_a_server_whose_checksum_is_another_one_is_not_believed(tmp_path: Path, link: Link) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    link.lie = True
    robot = Robot(tmp_path, s3_store(link, "lie"))
    async with robot.running():
        await until(lambda: robot.told)
        assert sent(tmp_path) == []
        assert "checksum" in robot.messages[0]
        link.lie = False
        await until(lambda: sent(tmp_path))


async def test_something_else_under_the_key_is_replaced(tmp_path: Path, link: Link) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    robot = Robot(tmp_path, s3_store(link, "other"))
    key = f"fleet=f/robot=r/date=1970-01-01/class=bulk/r-1-{Sums.of(DATA).sha256[:12]}.mcap"
    obstore.put(robot.store._store, key, DATA[:-1] + b"x")
    async with robot.running():
        await until(lambda: sent(tmp_path))
    assert robot.get(key) == DATA


async def test_a_link_that_is_cut_in_the_middle_and_comes_back(tmp_path: Path, link: Link) -> None:
    big = DATA + os.urandom(3 * PART)  # more than one part; what is behind the end does not matter here
    put(tmp_path, "ready/bulk/r-1.mcap", big)
    robot = Robot(tmp_path, s3_store(link, "cut"))
    link.cut_after = PART // 2
    async with robot.running():
        await until(lambda: robot.told)
        assert sent(tmp_path) == []
        assert robot.objects() == [], "nobody sees half of it"
        link.cut_after = None
        await until(lambda: sent(tmp_path))
    assert robot.segment() == big


async def test_what_was_sent_before_a_crash_is_not_sent_again(tmp_path: Path, link: Link) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    first = Robot(tmp_path, s3_store(link, "again"))
    async with first.running():
        await until(lambda: sent(tmp_path))
    keys, puts = first.objects(), len(link.puts)
    # The crash came between the server's proof and the rename.
    (tmp_path / "sent/bulk/r-1.mcap").rename(tmp_path / "ready/bulk/r-1.mcap")
    second = Robot(tmp_path, s3_store(link, "again"))
    async with second.running():
        await until(lambda: sent(tmp_path))
    assert second.objects() == keys
    assert len(link.puts) == puts


async def test_killed_in_the_middle_and_started_again_there_is_one_of_it(tmp_path: Path, link: Link) -> None:
    big = DATA + os.urandom(2 * PART)
    put(tmp_path, "ready/bulk/r-1.mcap", big)
    for link.held in ("0001-of-0003", "0001-of-0003", "0002-of-0003", "0003-of-0003", ".mcap.json"):
        robot = Robot(tmp_path, s3_store(link, "killed"))
        before = len(link.puts)
        async with robot.running():
            await until(lambda before=before: any(p.endswith(link.held) for p in link.puts[before:]))  # type: ignore[misc]
        assert sent(tmp_path) == []
    link.held = ""
    last = Robot(tmp_path, s3_store(link, "killed"))
    async with last.running():
        await until(lambda: sent(tmp_path))
    assert len(last.objects()) == 4, "three parts and the manifest"
    assert last.segment() == big


async def test_nothing_goes_before_its_class_lasts(
    tmp_path: Path, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "ready/failure/r-1.mcap")
    robot = Robot(tmp_path, s3_store(link, "settled"))
    asked: list[Path] = []

    def fail(folder: Path) -> None:
        asked.append(folder)
        raise OSError(5, "Input/output error", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(robot.keeper._files, "sync_folder", fail)
        async with robot.running():
            await until(lambda: robot.told == ["upload.failed"])
            assert robot.objects() == []
            assert set(asked) == {tmp_path / "ready/failure"}
    async with robot.running():
        await until(lambda: sent(tmp_path))


async def test_what_was_sent_of_a_segment_is_not_sent_again_after_a_restart(tmp_path: Path, link: Link) -> None:
    big = DATA + os.urandom(2 * PART)
    put(tmp_path, "ready/bulk/r-1.mcap", big)
    first = Robot(tmp_path, s3_store(link, "resumed"))
    link.answer, link.answer_for = 503, "0003-of-0003"
    async with first.running():
        await until(lambda: first.told)
    assert [key[-12:] for key in first.objects()] == ["0001-of-0003", "0002-of-0003"], "no manifest: not whole yet"
    before = len(link.puts)
    link.answer = 0
    last = Robot(tmp_path, s3_store(link, "resumed"))
    async with last.running():
        await until(lambda: sent(tmp_path))
    assert [path[-12:] for path in link.puts[before:] if "-of-" in path] == ["0003-of-0003"]
    assert last.segment() == big


async def test_never_is_never_and_unmetered_waits_for_a_free_link_or_an_order(
    tmp_path: Path, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in Class:
        put(tmp_path, f"ready/{kind}/r-{kind}.mcap")
    when = {
        Class.SAFETY: "always",
        Class.INTERVENTION: "unmetered",
        Class.FAILURE: "unmetered",
        Class.BULK: "never",
        Class.REJECTED: "never",
    }
    robot = Robot(tmp_path, s3_store(link, "when"), when)
    monkeypatch.setattr("runtime.spool.upload.choice.is_metered", lambda interfaces: True)
    async with robot.running():
        await until(lambda: sent(tmp_path))
        await asyncio.sleep(0.2)
        assert sent(tmp_path) == ["sent/safety/r-safety.mcap"]
        assert robot.uploader.status()["restricted"]
        assert robot.uploader.send_now() == 2
        await until(lambda: len(sent(tmp_path)) == 3)
    assert next(iter(tree(tmp_path))) == "ready/bulk/r-bulk.mcap"


async def test_the_rate_is_kept_over_all_segments(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/server", None, None, "checksum", 6e6)
    data = bytes(3 * 10**6)
    started = time.monotonic()
    for key in "abcd":
        await store.put(key, lambda: data, Sums.of(data), (0, key))
    # All but what goes in the first second, and the last piece, which is paid for by the next.
    assert time.monotonic() - started > 0.45


def test_messages_hold_no_secret() -> None:
    text = "PUT https://user:pw@host/x?sig=abc&y=1 failed with hunter22 for AKID\nDebug source: everything"
    told = redacted(text, {"AWS_SECRET_ACCESS_KEY": "hunter22", "HOME": "PUT", "X_TOKEN": "abc"})
    assert told == "PUT https://***@host/x?*** failed with *** for AKID"


def test_a_server_that_cannot_be_is_an_error_of_ours() -> None:
    with pytest.raises(UploadError):
        Store("s3://", None, None, "checksum", None)


async def test_a_copy_in_a_directory_counts_only_when_it_and_its_names_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, server = tmp_path / "spool", tmp_path / "server"
    put(root, "ready/bulk/r-1.mcap")
    robot = Robot(root, Store(f"file://{server}", None, None, "checksum", None))
    synced: set[str] = set()
    before: list[set[str]] = []
    fsync, confirmed = os.fsync, robot.keeper.confirmed

    def note_fsync(descriptor: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def note_confirmed(entry: Any) -> None:
        before.append(set(synced))
        confirmed(entry)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(robot.keeper, "confirmed", note_confirmed)
    async with robot.running():
        await until(lambda: sent(root))
    files = [path for path in server.rglob("*") if path.is_file()]
    folders_of_it = {server, *(path for path in server.rglob("*") if path.is_dir())}
    assert len(files) == 2
    assert {str(path) for path in [*files, *folders_of_it]} <= before[0]
