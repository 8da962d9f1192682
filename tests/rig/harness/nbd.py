"""A disk with a write cache that loses its power: an NBD server, with which QEMU plays the disk of a machine.

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
_OPTION_REPLY_MAGIC = 0x0003E889045565A9
_REQUEST_MAGIC, _REPLY_MAGIC = 0x25609513, 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPT_GO = 7
_REP_ACK, _REP_INFO, _REP_UNSUPPORTED = 1, 3, (1 << 31) | 1
_READ, _WRITE, _DISCONNECT, _FLUSH = range(4)
# No FUA is offered: whoever wants a write to last has to flush.
_HAS_FLAGS, _SEND_FLUSH = 1, 4
_SECTOR = 512
"""A disk writes a sector or does not."""


class CachedDisk:
    """Serves a raw file on a Unix socket. A write waits in the cache until the machine flushes, however long.
    With write number `cut_at` the power fails: nothing is taken and nothing is answered any more."""

    def __init__(self, path: Path, socket_path: Path, cut_at: int) -> None:
        self.url = f"nbd+unix:///?socket={socket_path}"
        self.cut = threading.Event()
        """Set when the power has failed."""
        self.writes = 0
        self.flushes = 0
        self._cut_at = cut_at
        self._file = os.open(path, os.O_RDWR)
        self._size = os.fstat(self._file).st_size
        self._cache: list[tuple[int, bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, name="rig-disk", daemon=True)
        self._thread.start()

    def close(self, generator: random.Random) -> tuple[int, int]:
        """QEMU has ended. Of what was in the cache a random part has reached the file, in any order, and some of
        that not to its end. Returns how many writes were in the cache, and how many of them are lost or torn."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "QEMU still uses the disk"
        kept_share, lost = generator.random(), 0
        for offset, data in self._cache:
            kept = len(data) if generator.random() < kept_share else 0
            if generator.random() < 0.2:
                kept = generator.randrange(len(data) // _SECTOR) * _SECTOR
            lost += kept < len(data)
            os.pwrite(self._file, data[:kept], offset)
        os.close(self._file)
        self._listener.close()
        return len(self._cache), lost

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, suppress(ConnectionError):
            _negotiate(client, self._size)
            while self._answer(client):
                pass
            while client.recv(1 << 20):  # a connection that ends would be an error that the machine sees
                pass

    def _answer(self, client: socket.socket) -> bool:
        """Do what the machine asks for; False: there will be no answer any more."""
        magic, _, kind, handle, offset, length = struct.unpack(">IHHQQI", _take(client, 28))
        assert magic == _REQUEST_MAGIC
        data = b""
        if kind == _READ:
            data = self._read(offset, length)
        elif kind == _WRITE:
            self._cache.append((offset, _take(client, length)))
            self.writes += 1
            if self.writes == self._cut_at:
                self.cut.set()
                return False
        elif kind == _FLUSH:
            self._flush()
        else:
            assert kind == _DISCONNECT, kind
            return False
        client.sendall(struct.pack(">IIQ", _REPLY_MAGIC, 0, handle) + data)
        return True

    def _read(self, offset: int, length: int) -> bytes:
        data = bytearray(os.pread(self._file, length, offset))
        for at, written in self._cache:
            first, last = max(at, offset), min(at + len(written), offset + length)
            if first < last:
                data[first - offset : last - offset] = written[first - at : last - at]
        return bytes(data)

    def _flush(self) -> None:
        for offset, data in self._cache:
            os.pwrite(self._file, data, offset)
        self._cache.clear()
        self.flushes += 1


def _negotiate(client: socket.socket, size: int) -> None:
    client.sendall(_MAGIC + _OPTION_MAGIC + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
    _take(client, 4)
    option = 0
    while option != _OPT_GO:
        _, option, length = struct.unpack(">8sII", _take(client, 16))
        _take(client, length)
        replies = [(_REP_UNSUPPORTED, b"")]
        if option == _OPT_GO:
            replies = [(_REP_INFO, struct.pack(">HQH", 0, size, _HAS_FLAGS | _SEND_FLUSH)), (_REP_ACK, b"")]
        for kind, about in replies:
            client.sendall(struct.pack(">QIII", _OPTION_REPLY_MAGIC, option, kind, len(about)) + about)


def _take(client: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = client.recv(min(length - len(data), 1 << 20))
        if not more:
            raise ConnectionError("the other end has gone")
        data += more
    return bytes(data)
