"""All errors of the control socket, on either side of it."""

from __future__ import annotations

from collections.abc import Sequence


class LinkError(Exception):
    """Base of all errors of this package."""


class SocketError(LinkError):
    """The daemon cannot listen: the path is taken, too long or not writable, or the group is unknown."""


class FrameError(LinkError):
    """Bytes that are not a frame of this protocol; nothing that follows them can be trusted.

    `code` is `oversize` or `malformed`.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Refused(LinkError):
    """The daemon will not do what it was asked to.

    A handler raises it to refuse; the client raises it when it was refused. `code` is for scripts, `message` is
    one sentence for a person, `reasons` are all the reasons there are, each one a sentence.
    """

    def __init__(self, code: str, message: str, reasons: Sequence[str] = ()) -> None:
        self.code = code
        self.message = message
        self.reasons = tuple(reasons)
        super().__init__(message)


class NoDaemon(LinkError):
    """Nobody listens on the socket, or the daemon went away."""


class AccessDenied(LinkError):
    """The operating system does not let this user open the socket."""


class LinkTimeout(LinkError):
    """The daemon did not answer in time."""


class ProtocolError(LinkError):
    """The other side is not a reflexd of a protocol that this client speaks."""
