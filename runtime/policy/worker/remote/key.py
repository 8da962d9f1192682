"""The key for a policy server: never in the config, which is recorded and shown.

Runs in the worker's interpreter: Python 3.9, standard library only.
"""

from __future__ import annotations

import os

from runtime.policy.worker.errors import BackendError

FILE = "policy.key"
"""Its name in `$CREDENTIALS_DIRECTORY`, the folder that systemd makes for `LoadCredential=`."""
VARIABLE = "REFLEXD_POLICY_KEY"
"""The environment variable that is looked at where there is no such file."""


def api_key() -> str:
    """The key, "" when there is none. Raises BackendError when it cannot be read or is no key."""
    path = os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", ""), FILE)
    place = path if os.environ.get("CREDENTIALS_DIRECTORY") and os.path.exists(path) else VARIABLE
    if place == VARIABLE:
        key = os.environ.get(VARIABLE, "")
    else:
        try:
            with open(path, encoding="ascii") as file:
                key = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(f"the key in {path} cannot be read: {error}") from error
    key = key.strip()
    # The key itself is not shown, whatever it is.
    if not key.isprintable() or not key.isascii() or " " in key:
        raise BackendError(f"{place}: found more than one word or signs beyond ASCII, expected a key alone")
    return key
