from __future__ import annotations

import errno
import select
import socket
import struct
import threading
from typing import ClassVar

import can
import pytest

from drivers.errors import PortError
from drivers.ports import can as ports
from drivers.ports.can import (
    ERROR_FLAG,
    EXTENDED_FLAG,
    FRAME_SIZE,
    RECEIVE_MAX,
    REMOTE_FLAG,
    RETRY_NS,
    CanFrame,
    explain_error_frame,
    header,
    open_can,
)

FRAME = CanFrame(0x11, b"\x01\x02\x03").pack()


def test_frame_layout():
    """`struct can_frame`: id and flags in host order, length, three bytes of padding, data."""
    assert CanFrame(0x123, b"\xde\xad").pack() == struct.pack("=I", 0x123) + b"\x02\0\0\0\xde\xad" + bytes(6)
    assert CanFrame.parse(FRAME) == CanFrame(0x11, b"\x01\x02\x03")
    flagged = CanFrame(0x1ABCDE | EXTENDED_FLAG | REMOTE_FLAG, b"")
    assert CanFrame.parse(flagged.pack()) == flagged
    assert header(0x123, 2) == CanFrame(0x123, b"\xde\xad").pack()[:8]


@pytest.mark.parametrize("frame", [b"", bytes(15), bytes(72), b"\0\0\0\0\x09" + bytes(11)])
def test_what_is_not_a_classic_frame(frame):
    with pytest.raises(ValueError, match="classic CAN frame"):
        CanFrame.parse(frame)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CanFrame(ERROR_FLAG | 0x40, bytes(8)), "bus-off"),
        (CanFrame(ERROR_FLAG | 0x20, bytes(8)), "acknowledges"),
        (CanFrame(ERROR_FLAG | 0x01, bytes(8)), "transmit timeout"),
        (CanFrame(ERROR_FLAG | 0x100, bytes(8)), "restarted"),
        (CanFrame(ERROR_FLAG | 0x04, b"\0\x01" + bytes(6)), "overflowed"),
        (CanFrame(ERROR_FLAG | 0x04, b"\0\x08" + bytes(6)), "warning"),
        (CanFrame(ERROR_FLAG | 0x04, b"\0\x20" + bytes(6)), "passive"),
        (CanFrame(ERROR_FLAG | 0x04, b"\0\x40" + bytes(6)), "recovered"),
        (CanFrame(ERROR_FLAG | 0x80, bytes(8)), "error class 0x80"),
    ],
)
def test_error_frames_in_words(error, words):
    assert words in explain_error_frame(error)


class Peer:
    """The other end of a Unix CAN bus."""

    def __init__(self, path):
        self.path = path
        self.listener = self.end = None
        self.listen()

    def listen(self):
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.settimeout(10)
        self.listener.bind(str(self.path))
        self.listener.listen()

    def accept(self):
        self.end, _ = self.listener.accept()
        self.end.settimeout(10)
        return self.end

    def close(self):
        for end in (self.end, self.listener):
            if end is not None:
                end.close()
        self.end = None


@pytest.fixture
def peer(tmp_path):
    made = Peer(tmp_path / "can")
    yield made
    made.close()


@pytest.fixture
def port(peer):
    made = open_can("unix", str(peer.path))
    peer.accept()
    yield made
    made.close()


def test_frames_pass_both_ways(port, peer):
    assert port.receive() == []
    assert port.send([FRAME, FRAME]) == 2
    assert peer.end.recv(100) == FRAME
    assert peer.end.recv(100) == FRAME
    peer.end.send(FRAME)
    assert select.select([port.fileno()], [], [], 10)[0]
    assert port.receive() == [FRAME]


def test_what_has_another_size_is_not_cut_to_the_right_one(port, peer):
    for size in (5, 17, 72):
        peer.end.send(bytes(size))
    assert [len(frame) for frame in port.receive()] == [5, 17, 72]


def test_a_babbling_peer_does_not_hold_the_caller(port, peer):
    for _ in range(RECEIVE_MAX + 3):
        peer.end.send(FRAME)
    assert len(port.receive()) == RECEIVE_MAX
    assert len(port.receive()) == 3


def test_a_full_queue_refuses_and_does_not_wait(port, peer):
    taken = port.send([FRAME] * 10_000)
    assert 10 < taken < 10_000
    assert port.down is False
    for _ in range(taken):
        peer.end.recv(100)
    assert port.send([FRAME]) == 1


def test_a_full_queue_of_a_can_interface_is_no_reason_to_be_down(port, monkeypatch):
    class Full:
        def send(self, frame):
            raise OSError(errno.ENOBUFS, "No buffer space available")

    real, port._socket = port._socket, Full()
    assert port.send([FRAME]) == 0
    port.shout([FRAME])
    port._socket = real
    assert port.down is False


@pytest.mark.parametrize("gone", [errno.ENETDOWN, errno.ENODEV])
def test_an_interface_that_goes_down(port, gone):
    class Gone:
        def send(self, frame):
            raise OSError(gone, "gone")

        def recv(self, size):
            raise OSError(gone, "gone")

    real, port._socket = port._socket, Gone()
    assert port.receive() == []
    assert port.down is True
    port.down = False
    assert port.send([FRAME]) == 0
    assert port.down is True
    port._socket = real


def test_a_peer_that_leaves_and_returns(port, peer):
    number = port.fileno()
    peer.close()
    assert port.receive() == []
    assert port.down is True
    assert port.send([FRAME]) == 0
    assert port.reopen(1000) is False
    peer.listen()
    assert port.reopen(1000 + RETRY_NS - 1) is False  # not at every tick
    assert port.reopen(1000 + RETRY_NS) is True
    assert port.fileno() == number  # another thread may hold it
    peer.accept()
    assert port.send([FRAME]) == 1
    assert peer.end.recv(100) == FRAME


def test_a_peer_that_leaves_is_noticed_by_sending_too(port, peer):
    peer.close()
    assert port.send([FRAME]) == 0
    assert port.down is True


def test_shout_from_another_thread(port, peer):
    thread = threading.Thread(target=port.shout, args=([FRAME, FRAME],))
    thread.start()
    thread.join()
    assert [peer.end.recv(100) for _ in range(2)] == [FRAME, FRAME]
    peer.close()
    port.shout([FRAME])
    port.close()
    port.shout([FRAME])
    assert port.reopen(10**12) is False


@pytest.mark.parametrize(
    ("name", "text"), [("nobody", "start the program that listens there"), ("x" * 200, "path too long")]
)
def test_nobody_listens(tmp_path, name, text):
    with pytest.raises(PortError, match=text):
        open_can("unix", str(tmp_path / name))


# -- SocketCAN


class CanSocket:
    """Records what is asked of a CAN socket, and fails on demand: most machines that test have no CAN."""

    made: ClassVar[list[CanSocket]]
    bind_error = 0
    pending_error = 0

    def __init__(self, family, kind, protocol=0):
        assert (family, protocol) == (socket.AF_CAN, socket.CAN_RAW)
        assert kind == socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self.options = {}
        self.closed = False
        self.made.append(self)

    def setsockopt(self, level, option, value):
        assert level == socket.SOL_CAN_RAW
        self.options[option] = value

    def getsockopt(self, level, option):
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self.pending_error

    def bind(self, address):
        self.address = address
        if self.bind_error:
            raise OSError(self.bind_error, "cannot")

    def close(self):
        self.closed = True


@pytest.fixture
def can_socket(monkeypatch):
    class Fresh(CanSocket):
        made: ClassVar[list[CanSocket]] = []

    monkeypatch.setattr(ports.socket, "socket", Fresh)
    return Fresh


def test_a_can_interface_gets_its_filters(can_socket):
    port = open_can("socketcan", "can0")
    (made,) = can_socket.made
    assert made.address == ("can0",)
    assert made.options == {2: struct.pack("=I", 0x165)}  # error frames, not each single bus error
    port.listen_to([0x12, 0x11])
    mask = 0x7FF | EXTENDED_FLAG | REMOTE_FLAG
    assert made.options[socket.CAN_RAW_FILTER] == struct.pack("=4I", 0x11, mask, 0x12, mask)


@pytest.mark.parametrize(
    ("bind_error", "pending_error", "text"),
    [
        (0, errno.ENETDOWN, "is down; bring it up: `ip link set can0 up type can bitrate 500000`"),
        (errno.ENODEV, 0, "there is no CAN interface can0"),
        (errno.EAFNOSUPPORT, 0, "modprobe can-raw"),
        (errno.EPERM, 0, "cannot; check it with `ip -details link show can0`"),
    ],
)
def test_a_can_interface_that_cannot_be_used(can_socket, bind_error, pending_error, text):
    can_socket.bind_error, can_socket.pending_error = bind_error, pending_error
    with pytest.raises(PortError) as raised:
        open_can("socketcan", "can0", 500_000)
    assert text in str(raised.value)
    assert "ip link" in str(raised.value) or "modprobe" in str(raised.value)
    assert all(made.closed for made in can_socket.made)


def vcan() -> str:
    """Name of a virtual CAN interface that is up, or a skip."""
    for _, name in socket.if_nameindex():
        if name.startswith("vcan"):
            return name
    pytest.skip("no vcan interface here: modprobe vcan; ip link add dev vcan0 type vcan; ip link set vcan0 up")


def test_real_socketcan():
    name = vcan()
    with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as far_end:
        far_end.settimeout(10)
        far_end.bind((name,))
        port = open_can("socketcan", name)
        try:
            port.listen_to([0x11])
            assert port.send([FRAME]) == 1
            assert far_end.recv(FRAME_SIZE) == FRAME
            for can_id in (0x12, 0x11 | EXTENDED_FLAG, 0x11):
                far_end.send(CanFrame(can_id, b"\x05").pack())
            assert select.select([port.fileno()], [], [], 10)[0]
            assert [CanFrame.parse(frame) for frame in port.receive()] == [CanFrame(0x11, b"\x05")]
        finally:
            port.close()


def test_socketcan_without_can_says_what_to_do():
    try:
        socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
    except OSError:
        with pytest.raises(PortError, match="this kernel has no SocketCAN"):
            open_can("socketcan", "can0")
    else:
        with pytest.raises(PortError, match="there is no CAN interface nocan9"):
            open_can("socketcan", "nocan9")


# -- python-can


def test_python_can():
    port = open_can("virtual", "bench")
    with can.Bus(interface="virtual", channel="bench") as far_end:
        try:
            assert port.fileno() == -1
            assert port.receive() == []
            assert port.send([FRAME, FRAME]) == 2
            message = far_end.recv(10)
            assert (message.arbitration_id, bytes(message.data)) == (0x11, b"\x01\x02\x03")
            assert message.is_extended_id is False
            port.listen_to([0x11])  # filters are none of its business, but they must not end what is received
            far_end.send(can.Message(arbitration_id=0x12, is_extended_id=False))
            far_end.send(can.Message(arbitration_id=0x11, is_extended_id=False, data=b"\x07"))
            assert port.receive()[-1] == CanFrame(0x11, b"\x07").pack()
        finally:
            port.close()


def test_python_can_keeps_what_a_frame_is():
    port = open_can("virtual", "bench")
    with can.Bus(interface="virtual", channel="bench") as far_end:
        try:
            far_end.send(can.Message(arbitration_id=0x1ABCDE, is_extended_id=True, is_remote_frame=True))
            far_end.send(can.Message(arbitration_id=0x40, is_error_frame=True, is_extended_id=False))
            far_end.send(can.Message(arbitration_id=0x11, is_fd=True, data=bytes(16), is_extended_id=False))
            remote, error, fd = port.receive()
            assert CanFrame.parse(remote).id == 0x1ABCDE | EXTENDED_FLAG | REMOTE_FLAG
            assert CanFrame.parse(error).id == 0x40 | ERROR_FLAG
            assert len(fd) == 72
        finally:
            port.close()


def test_python_can_goes_down():
    port = open_can("virtual", "bench")
    port._bus.shutdown()
    assert port.send([FRAME]) == 0
    port.shout([FRAME])
    assert port.receive() == []
    assert port.down is True
    assert port.reopen(10**12) is False
    port.close()


def test_an_interface_that_nobody_knows():
    with pytest.raises(PortError, match="`interface` is socketcan, unix, or one of python-can's"):
        open_can("carrier-pigeon", "0")
