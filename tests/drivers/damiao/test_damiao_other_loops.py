"""The same bus on uvloop, and on an interface of python-can."""

from __future__ import annotations

import asyncio

import can
import pytest
import uvloop

from drivers.motors.damiao.frames import DISABLED, ENABLED
from drivers.ports.can import CanFrame


def test_on_uvloop(rig_class, tmp_path):
    async def run():
        rig = rig_class(tmp_path / "can")
        rig.wire.listen()
        await rig.bus.connect()
        await rig.bus.enable()
        assert rig.devices["calf"].status == ENABLED
        rig.bus.command(10**15, rig.goal)
        await rig.answered(3)
        rig.bus.read(10**15 + 1)
        assert rig.state.stamp_ns[[1, 2, 4]].tolist() == [10**15] * 3
        await rig.bus.close()
        assert rig.devices["calf"].status == DISABLED
        rig.wire.hang_up()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def test_over_python_can(rig_class, tmp_path):
    rig = rig_class(tmp_path / "legs", interface="virtual")
    channel = rig.options.channel
    with can.Bus(interface="virtual", channel=channel) as far_end:

        async def motors():
            while True:
                while (message := far_end.recv(0)) is not None:
                    packed = CanFrame(message.arbitration_id, bytes(message.data)).pack()
                    for _, reply in rig.devices.receive(packed, 1):
                        frame = CanFrame.parse(reply)
                        far_end.send(can.Message(arbitration_id=frame.id, data=frame.data, is_extended_id=False))
                        rig.wire.replies += 1
                await asyncio.sleep(0.001)

        pump = asyncio.create_task(motors())
        await rig.bus.connect()
        await rig.bus.enable()
        assert rig.devices["hip"].status == ENABLED
        rig.bus.command(10**15, rig.goal)
        await rig.answered(3)
        rig.bus.read(10**15 + 1)
        assert rig.state.position[[1, 2, 4]] == pytest.approx([0.1] * 3, abs=1e-3)
        assert rig.state.stamp_ns[[1, 2, 4]].tolist() == [10**15] * 3
        await rig.bus.close()
        assert rig.devices["hip"].status == DISABLED
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
