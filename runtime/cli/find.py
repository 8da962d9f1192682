"""Which daemon `reflexctl` talks to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runtime.config.paths import run_directory
from runtime.link.client import Client
from runtime.link.errors import AccessDenied, LinkError, NoDaemon

SERVICES = Path("/run/reflexd")
"""Each robot that runs as a service, reflexd@NAME, listens at NAME/reflexd.sock below this folder."""


def find(
    socket: str | None, timeout_s: float, env: Mapping[str, str] = os.environ, services: Path = SERVICES
) -> tuple[list[Client], list[LinkError]]:
    """The daemons that may be meant, and what went wrong with those that are there and do not answer.

    The one whose `socket` was named, or $REFLEXD_SOCKET; else the one of this user; else all that run as services.
    Raises the LinkError when there is nobody to talk to.
    """
    given = socket or env.get("REFLEXD_SOCKET")
    first = Path(given) if given else run_directory(env) / "reflexd.sock"
    others = [] if given else sorted(set(services.glob("*/reflexd.sock")) - {first})
    clients: list[Client] = []
    absent, denied, errors = [], [], []
    for path in (first, *others):
        try:
            clients.append(Client(path, timeout_s))
        except NoDaemon as error:
            absent.append(str(error))  # also one that was killed and has left its socket behind
        except AccessDenied as error:
            denied.append(error)  # somebody else's robot
        except LinkError as error:
            errors.append(error)
        if path == first and (clients or denied or errors):
            break
    if not clients and (denied or errors):
        raise (errors + denied)[0]
    if not clients:
        raise NoDaemon("; ".join(absent) + "; start the daemon with `reflexd run CONFIG`, or name its --socket")
    return clients, errors
