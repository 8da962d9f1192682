"""The client's side of the control socket: blocking, without an event loop, quick to import."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runtime.link import protocol
from runtime.link.errors import AccessDenied, FrameError, LinkTimeout, NoDaemon, ProtocolError, Refused

_RETRY_S = 0.02


class Client:
    """A connection to the daemon. One thread at a time."""

    def __init__(self, path: Path | str, timeout_s: float = 10.0) -> None:
        """Connect and shake hands. `timeout_s` is for this, and then for every answer.

        Raises NoDaemon, AccessDenied, LinkTimeout, or ProtocolError when the daemon speaks another protocol.
        """
        self.path = Path(path)
        self.timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._decoder = protocol.Decoder()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            deadline = time.monotonic() + timeout_s
            self._connect(deadline)
            self.daemon_version = self._shake_hands(deadline)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def request(self, op: str, /, **args: Any) -> Any:
        """The result of an operation.

        Raises Refused with the daemon's code and reasons, NoDaemon, LinkTimeout, ProtocolError.
        """
        request_id = self._send(op, args)
        deadline = time.monotonic() + self.timeout_s
        while True:
            message = self._receive(deadline, op)
            if message.get("id") == request_id and message.get("ok") is True:
                return message.get("result")
            self._raise_error(message, request_id)

    def stream(self, op: str, /, **args: Any) -> Iterator[Any]:
        """The result of `watch`, or of `events` with `follow`, and then everything that the daemon pushes.

        Ends only with an error; a stream may be silent for any time.
        """
        request_id = self._send(op, args)
        deadline: float | None = time.monotonic() + self.timeout_s
        while True:
            message = self._receive(deadline, op)
            self._raise_error(message, request_id)
            if message.get("id") == request_id:
                deadline = None
                yield message.get("result")

    def _connect(self, deadline: float) -> None:
        while True:
            self._allow(deadline, "connect")
            try:
                self._socket.connect(str(self.path))
                return
            except BlockingIOError:
                # The daemon's queue of new connections is full; it empties at its own pace.
                time.sleep(_RETRY_S)
            except TimeoutError:
                raise self._too_late("connect") from None
            except PermissionError as error:
                raise AccessDenied(
                    f"this user may not open {self.path}; expected root, the daemon's own user "
                    "or a member of the socket's group"
                ) from error
            except OSError as error:
                raise NoDaemon(f"no daemon answers at {self.path} ({error.strerror or error})") from error

    def _shake_hands(self, deadline: float) -> str:
        hello = self._receive(deadline, "shake hands")
        version, spoken = hello.get("reflexd"), hello.get("protocol")
        if not isinstance(version, str) or type(spoken) is not int:
            raise ProtocolError(
                f"found something that is not reflexd at {self.path}: it does not introduce itself"
            )
        if spoken != protocol.PROTOCOL:
            raise ProtocolError(
                f"found a daemon (reflexd {version}) that speaks protocol {spoken}, expected protocol "
                f"{protocol.PROTOCOL}; use the reflexctl that was installed with that daemon"
            )
        return version

    def _send(self, op: str, args: dict[str, Any]) -> int:
        request_id = next(self._ids)
        self._allow(time.monotonic() + self.timeout_s, op)
        try:
            self._socket.sendall(protocol.request(request_id, op, args))
        except TimeoutError:
            raise self._too_late(op) from None
        except OSError:
            # A daemon that sends a client away says why before it closes; `_receive` finds that.
            pass
        return request_id

    def _receive(self, deadline: float | None, what: str) -> dict[str, Any]:
        try:
            while (body := self._decoder.frame()) is None:
                self._allow(deadline, what)
                count = self._socket.recv_into(self._decoder.space())
                if count == 0:
                    raise NoDaemon(f"the daemon at {self.path} closed the connection")
                self._decoder.received(count)
            return protocol.unpack(body)
        except FrameError as error:
            raise ProtocolError(f"found something at {self.path} that is not reflexd: {error}") from error
        except TimeoutError:
            raise self._too_late(what) from None
        except OSError as error:
            raise NoDaemon(f"the daemon at {self.path} is gone ({error.strerror or error})") from error

    def _raise_error(self, message: dict[str, Any], request_id: int) -> None:
        """Raise what the daemon says went wrong with this request, or with the connection; else do nothing."""
        about = message.get("id")
        if message.get("ok") is not False or about not in (None, request_id):
            return
        told = message.get("error")
        if not isinstance(told, dict):
            raise ProtocolError(f"found an error without a text from {self.path}")
        code, text = str(told.get("code")), str(told.get("message"))
        if code == "too_many_connections":
            raise NoDaemon(f"the daemon at {self.path} sent this client away: {text}")
        if about is None:
            raise ProtocolError(f"the daemon at {self.path} closed the connection: {text}")
        raise Refused(code, text, [str(reason) for reason in told.get("reasons") or ()])

    def _allow(self, deadline: float | None, what: str) -> None:
        """Let the socket's next call wait until the deadline, or for ever."""
        if deadline is None:
            self._socket.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._too_late(what)
        self._socket.settimeout(left)

    def _too_late(self, what: str) -> LinkTimeout:
        return LinkTimeout(f"the daemon at {self.path} did not answer within {self.timeout_s:g} s ({what})")
