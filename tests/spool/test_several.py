"""Several segments on their way at once: what comes next, what may go, what is told, and what a cut leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="the package obstore (extra upload) is not installed")
from runtime.spool.retention import Caps
from runtime.spool.upload import uploader as uploader_module
from runtime.spool.upload.store import Store
from runtime.spool.upload.sums import Sums
from runtime.spool.upload.turns import Rank
from tests.spool.segments import tree
from tests.spool.server import BUCKET, Link
from tests.spool.test_upload import DATA, Robot, link, put, s3_store, sent, server, until

__all__ = ["link", "server"]
AT_ONCE = uploader_module._AT_ONCE


class Held(Store):
    """The server of `s3` that gets nothing whose key has `held` in it before `free` is set."""

    def __init__(self, link: Link, prefix: str, held: str) -> None:
        super().__init__(f"s3://{BUCKET}/{prefix}", link.url, "us-east-1", "checksum", None, retries=0)
        self.held = held
        self.free = asyncio.Event()

    async def put(self, key: str, content: Callable[[], bytes], sums: Sums, rank: Rank) -> None:
        if self.held in key:
            await self.free.wait()
        await super().put(key, content, sums, rank)


def going(robot: Robot) -> list[str]:
    return [told["segment"] for told in robot.uploader.status()["now"]]


def bulk(root: Path, count: int) -> list[str]:
    names = [f"r-{number}" for number in range(count)]
    for name in reversed(names):
        put(root, f"ready/bulk/{name}.mcap")
    return names


async def test_a_stop_that_comes_does_not_wait_for_what_is_on_its_way(tmp_path: Path, link: Link) -> None:
    names = bulk(tmp_path, AT_ONCE + 2)
    store = Held(link, "next", "class=bulk")
    robot = Robot(tmp_path, store)
    async with robot.running():
        await until(lambda: going(robot) == names[:AT_ONCE])
        put(tmp_path, "ready/safety/r-9.mcap")
        robot.keeper.look()
        await until(lambda: sent(tmp_path))
        assert sent(tmp_path) == ["sent/safety/r-9.mcap"]
        await until(lambda: going(robot) == names[:AT_ONCE])
        store.free.set()
        await until(lambda: len(sent(tmp_path)) == len(names) + 1)


async def test_what_is_on_its_way_does_not_go_under_pressure(tmp_path: Path, link: Link) -> None:
    names = bulk(tmp_path, AT_ONCE + 2)
    store = Held(link, "pressure", "")
    robot = Robot(tmp_path, store)
    async with robot.running():
        await until(lambda: len(going(robot)) == AT_ONCE)
        robot.keeper._caps = Caps(1, 0)
        robot.keeper.look()
        assert [path for path in tree(tmp_path) if path.startswith("ready")] == [
            f"ready/bulk/{name}.mcap" for name in names[:AT_ONCE]
        ]
        store.free.set()
        await until(lambda: len(sent(tmp_path)) == AT_ONCE and going(robot) == [])
    robot.keeper.look()
    assert [path for path in tree(tmp_path) if path.endswith(".mcap")] == []


async def test_several_that_fail_together_are_one_trouble(
    tmp_path: Path, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploader_module, "_FIRST_S", 3600.0)
    monkeypatch.setattr(uploader_module, "_LONGEST_S", 3600.0)
    bulk(tmp_path, AT_ONCE + 2)
    store = Held(link, "together", "")
    robot = Robot(tmp_path, store)
    async with robot.running():
        await until(lambda: len(going(robot)) == AT_ONCE)
        link.answer = 503
        store.free.set()
        await until(lambda: going(robot) == [])
        assert robot.told == ["upload.failed"]
        assert robot.uploader._failures == 1, "the next attempt is one back-off away"
        link.answer = 0
        robot.uploader.send_now()
        await until(lambda: robot.told.count("upload.sent") == AT_ONCE + 2)
    assert robot.told.count("upload.failed") == robot.told.count("upload.back") == 1


async def test_what_was_on_its_way_before_a_trouble_does_not_end_it(tmp_path: Path, link: Link) -> None:
    bulk(tmp_path, 2)
    store = Held(link, "before", "/r-1-")
    robot = Robot(tmp_path, store)
    link.answer, link.answer_for = 412, "/r-0-"
    async with robot.running():
        await until(lambda: robot.told)
        store.free.set()
        await until(lambda: sent(tmp_path))
        before = len(link.puts)
        await until(lambda: len(link.puts) > before + 1)  # it is tried again
        assert robot.told == ["upload.failed", "upload.sent"]
        link.answer = 0
        await until(lambda: "upload.back" in robot.told)
    assert len(sent(tmp_path)) == 2
    assert robot.told.count("upload.back") == 1


async def test_cut_off_in_the_middle_of_several_each_is_there_once_in_the_end(tmp_path: Path, link: Link) -> None:
    names = bulk(tmp_path, AT_ONCE + 2)
    link.held = f"{Sums.of(DATA).sha256[:12]}.mcap"
    first = Robot(tmp_path, s3_store(link, "several"))
    async with first.running():
        await until(lambda: len(link.puts) >= 2)
        assert len(going(first)) == AT_ONCE
    assert (sent(tmp_path), first.objects(), first.keeper.busy, going(first)) == ([], [], set(), [])
    link.held = ""
    second = Robot(tmp_path, s3_store(link, "several"))
    async with second.running():
        await until(lambda: len(sent(tmp_path)) == len(names))
    objects = second.objects()
    assert len(objects) == 2 * len(names), "a segment and its manifest each"
    assert all(any(f"/{name}-" in key for key in objects) for name in names)


async def test_a_segment_that_is_marked_while_it_goes_arrives_and_is_no_trouble(
    tmp_path: Path, link: Link
) -> None:
    bulk(tmp_path, 1)
    store = Held(link, "marked", "")
    robot = Robot(tmp_path, store)
    async with robot.running():
        await until(lambda: going(robot))
        robot.keeper.keep("r-0")
        store.free.set()
        await until(lambda: robot.told)
    assert sent(tmp_path) == ["sent/bulk/r-0.keep.mcap"]
    assert robot.told == ["upload.sent"]
