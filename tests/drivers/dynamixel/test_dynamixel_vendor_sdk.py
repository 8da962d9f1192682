"""The vendor's own SDK talks to the emulated servos over a pseudo terminal."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from dynamixel_sdk import (
    COMM_RX_TIMEOUT,
    COMM_SUCCESS,
    GroupBulkRead,
    GroupBulkWrite,
    GroupSyncRead,
    GroupSyncWrite,
    PacketHandler,
    PortHandler,
)

Call = Callable[..., Any]


class Sdk:
    """The SDK blocks, so it runs in a thread while the loop moves the bytes."""

    def __init__(self, path: str) -> None:
        self.port = PortHandler(path)
        self.packets = PacketHandler(2.0)
        assert self.port.openPort()
        assert self.port.setBaudRate(1_000_000)
        # Its time-outs are tens of milliseconds, less than a busy computer may need.
        self.port.setPacketTimeout = lambda _: self._patience()
        self.port.setPacketTimeoutMillis = lambda _: self._patience(500.0)
        self.patience_ms = 3000.0

    def _patience(self, milliseconds: float | None = None) -> None:
        self.port.packet_start_time = self.port.getCurrentTime()
        self.port.packet_timeout = self.patience_ms if milliseconds is None else milliseconds

    async def __call__(self, method: str, *arguments: object) -> Any:
        return await asyncio.to_thread(getattr(self.packets, method), self.port, *arguments)


@pytest.fixture
async def sdk(rig) -> AsyncIterator[Sdk]:
    wires = rig([("a", 1, "XM430-W350", 0.5), ("b", 2, "XM540-W270", 0.0), ("c", 3, "XL430-W250", 0.0)])
    one = Sdk(wires.path)
    one.rig = wires
    yield one
    one.port.closePort()


async def test_ping(sdk: Sdk) -> None:
    assert await sdk("ping", 1) == (1020, COMM_SUCCESS, 0)
    assert await sdk("ping", 3) == (1060, COMM_SUCCESS, 0)
    sdk.patience_ms = 50.0
    assert (await sdk("ping", 9))[1] == COMM_RX_TIMEOUT


async def test_broadcast_ping(sdk: Sdk) -> None:
    found, result = await sdk("broadcastPing")
    assert result == COMM_SUCCESS
    assert found == {1: [1020, 46], 2: [1120, 46], 3: [1060, 46]}


async def test_read_and_write_of_every_size(sdk: Sdk) -> None:
    assert await sdk("write1ByteTxRx", 1, 65, 1) == (COMM_SUCCESS, 0)
    assert await sdk("read1ByteTxRx", 1, 65) == (1, COMM_SUCCESS, 0)
    assert await sdk("write2ByteTxRx", 1, 84, 850) == (COMM_SUCCESS, 0)
    assert await sdk("read2ByteTxRx", 1, 84) == (850, COMM_SUCCESS, 0)
    assert await sdk("write4ByteTxRx", 1, 116, 512) == (COMM_SUCCESS, 0)
    assert await sdk("read4ByteTxRx", 1, 116) == (512, COMM_SUCCESS, 0)
    position, _, _ = await sdk("read4ByteTxRx", 1, 132)
    assert position == 2048 + round(0.5 / 2 / math.pi * 4096)


async def test_stuffed_answers(sdk: Sdk) -> None:
    # Only this way: the SDK's Python side computes the stuffing of what it sends and then sends it unstuffed.
    header = [0xFF, 0xFF, 0xFD, 0x00, 0xFF, 0xFF, 0xFD, 0xFD]
    assert sdk.rig.servo("a").write(224, bytes(header)) == 0
    assert await sdk("readTxRx", 1, 224, len(header)) == (header, COMM_SUCCESS, 0)


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("write4ByteTxRx", (132, 0), 7),
        ("write4ByteTxRx", (116, 5000), 6),
        ("write1ByteTxRx", (64, 2), 4),
        ("write1ByteTxRx", (116, 0), 5),
    ],
)
async def test_error_codes(sdk: Sdk, method: str, arguments: tuple[int, int], error: int) -> None:
    result, code = await sdk(method, 1, *arguments)
    assert (result, code) == (COMM_SUCCESS, error)
    assert "error" in sdk.packets.getRxPacketError(code).lower() or "out of" in sdk.packets.getRxPacketError(code)


async def test_alert_bit(sdk: Sdk) -> None:
    sdk.rig.devices.fault("a", "overload")
    value, result, error = await sdk("read1ByteTxRx", 1, 70)
    assert (value, result, error) == (0x20, COMM_SUCCESS, 0x80)
    assert "Hardware error" in sdk.packets.getRxPacketError(error)


async def test_reg_write_and_action(sdk: Sdk) -> None:
    assert await sdk("regWriteTxRx", 1, 116, 4, [0, 2, 0, 0]) == (COMM_SUCCESS, 0)
    assert (await sdk("read1ByteTxRx", 1, 69))[0] == 1
    assert await sdk("action", 0xFE) == COMM_SUCCESS
    assert (await sdk("read4ByteTxRx", 1, 116))[0] == 512


async def test_sync_write_and_sync_read(sdk: Sdk) -> None:
    writer = GroupSyncWrite(sdk.port, sdk.packets, 116, 4)
    for ident, value in ((1, 150), (2, 170)):
        assert writer.addParam(ident, list(value.to_bytes(4, "little")))
    assert await asyncio.to_thread(writer.txPacket) == COMM_SUCCESS
    reader = GroupSyncRead(sdk.port, sdk.packets, 116, 4)
    for ident in (1, 2, 3):
        assert reader.addParam(ident)
    assert await asyncio.to_thread(reader.txRxPacket) == COMM_SUCCESS
    assert [reader.getData(ident, 116, 4) for ident in (1, 2, 3)] == [150, 170, 2048]


async def test_fast_sync_read(sdk: Sdk) -> None:
    reader = GroupSyncRead(sdk.port, sdk.packets, 132, 4)
    if not hasattr(reader, "fastSyncRead"):
        pytest.skip("this SDK is older than Fast Sync Read")
    for ident in (3, 1, 2):
        assert reader.addParam(ident)
    assert await asyncio.to_thread(reader.fastSyncRead) == COMM_SUCCESS
    assert [reader.getData(ident, 132, 4) for ident in (3, 1, 2)] == [2048, 2374, 2048]


async def test_bulk_write_and_bulk_read(sdk: Sdk) -> None:
    writer = GroupBulkWrite(sdk.port, sdk.packets)
    assert writer.addParam(1, 116, 4, [9, 1, 0, 0])
    assert writer.addParam(2, 65, 1, [1])
    assert await asyncio.to_thread(writer.txPacket) == COMM_SUCCESS
    reader = GroupBulkRead(sdk.port, sdk.packets)
    assert reader.addParam(1, 116, 4)
    assert reader.addParam(2, 65, 1)
    assert await asyncio.to_thread(reader.txRxPacket) == COMM_SUCCESS
    assert (reader.getData(1, 116, 4), reader.getData(2, 65, 1)) == (265, 1)


async def test_reboot_clear_and_factory_reset(sdk: Sdk) -> None:
    assert await sdk("write1ByteTxRx", 1, 65, 1) == (COMM_SUCCESS, 0)
    assert await sdk("reboot", 1) == (COMM_SUCCESS, 0)
    sdk.rig.skip(0.5)
    assert (await sdk("read1ByteTxRx", 1, 65))[0] == 0
    assert await sdk("clearMultiTurn", 1) == (COMM_SUCCESS, 0)
    assert await sdk("factoryReset", 2, 0x02) == (COMM_SUCCESS, 0)


async def test_a_tripped_watchdog_answers_data_range(sdk: Sdk) -> None:
    assert await sdk("write1ByteTxRx", 1, 98, 5) == (COMM_SUCCESS, 0)
    assert await sdk("write1ByteTxRx", 1, 64, 1) == (COMM_SUCCESS, 0)
    sdk.rig.skip(1.0)
    assert (await sdk("read1ByteTxRx", 1, 98))[0] == 0xFF
    assert await sdk("write4ByteTxRx", 1, 116, 2000) == (COMM_SUCCESS, 4)
    assert await sdk("write1ByteTxRx", 1, 98, 0) == (COMM_SUCCESS, 0)
    assert await sdk("write4ByteTxRx", 1, 116, 2000) == (COMM_SUCCESS, 0)
