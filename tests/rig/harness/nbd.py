"""A disk with a write cache, for QEMU: an NBD server that forgets, at a power cut, what was not flushed.

https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, fixed newstyle, one client, simple replies.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

_MAGIC, _OPTION_MAGIC = b"NBDMAGIC", b"IHAVEOPT"
_REPLY_MAGIC = 0x0003E889045565A9
_REQUEST_MAGIC, _SIMPLE_MAGIC = 0x25609513, 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPT_GO = 7
_REP_ACK, _REP_INFO, _REP_UNSUPPORTED = 1, 3, (1 << 31) | 1
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_HAS_FLAGS, _SEND_FLUSH = 1, 4
_SECTOR = 512


class CachedDisk:
    """Serves a raw file on a Unix socket. A write reaches the file with the next flush, or perhaps never."""

    def __init__(self, path: Path, socket_path: Path) -> None:
        self.url = f"nbd+unix:///?socket={socket_path}"
        self.flushes = 0
        self._file = os.open(path, os.O_RDWR)
        self._size = os.fstat(self._file).st_size
        self._waiting: list[tuple[int, bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self, generator: random.Random) -> tuple[int, int]:
        """The power is gone, and QEMU with it. Of what was not flushed a random part has reached the file, some of
        it not to its end. Returns how many writes waited, and how many are lost or torn."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "QEMU still uses the disk"
        lost = 0
        for offset, data in self._waiting:
            kept = len(data) if generator.random() < 0.5 else 0
            if kept > _SECTOR and generator.random() < 0.2:
                kept = generator.randrange(kept // _SECTOR) * _SECTOR
            lost += kept < len(data)
            os.pwrite(self._file, data[:kept], offset)
        waited = len(self._waiting)
        self._waiting.clear()
        os.close(self._file)
        self._listener.close()
        return waited, lost

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, suppress(ConnectionError):
            if self._negotiate(client):
                while self._answer(client):
                    pass

    def _negotiate(self, client: socket.socket) -> bool:
        client.sendall(_MAGIC + _OPTION_MAGIC + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
        _take(client, 4)
        while True:
            _, option, length = struct.unpack(">8sII", _take(client, 16))
            _take(client, length)
            if option == _OPT_GO:
                about = struct.pack(">HQH", 0, self._size, _HAS_FLAGS | _SEND_FLUSH)
                client.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, _REP_INFO, len(about)) + about)
                client.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, _REP_ACK, 0))
                return True
            client.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, _REP_UNSUPPORTED, 0))

    def _answer(self, client: socket.socket) -> bool:
        magic, _, kind, handle, offset, length = struct.unpack(">IHHQQI", _take(client, 28))
        assert magic == _REQUEST_MAGIC
        if kind == _DISCONNECT:
            return False
        data = b""
        if kind == _READ:
            data = self._read(offset, length)
        elif kind == _WRITE:
            self._waiting.append((offset, _take(client, length)))
        elif kind == _FLUSH:
            self._flush()
        client.sendall(struct.pack(">IIQ", _SIMPLE_MAGIC, 0, handle) + data)
        return True

    def _read(self, offset: int, length: int) -> bytes:
        data = bytearray(os.pread(self._file, length, offset))
        for at, written in self._waiting:
            first, last = max(at, offset), min(at + len(written), offset + length)
            if first < last:
                data[first - offset : last - offset] = written[first - at : last - at]
        return bytes(data)

    def _flush(self) -> None:
        for offset, data in self._waiting:
            os.pwrite(self._file, data, offset)
        self._waiting.clear()
        self.flushes += 1


def _take(client: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = client.recv(min(length - len(data), 1 << 20))
        if not more:
            raise ConnectionError("the other end has gone")
        data += more
    return bytes(data)
