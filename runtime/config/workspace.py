"""The workspace of a config, made of the robot's model. Apart from loading: that must not import a simulator."""

from __future__ import annotations

from runtime.config.config import Config
from runtime.config.errors import ConfigError, Mistake
from safety.errors import WorkspaceError
from safety.workspace.guard import Space


def space(config: Config) -> Space | None:
    """What the envelope's guard looks at; None when no workspace is configured. Raises ConfigError."""
    options = config.safety.workspace
    if options is None:
        return None
    from safety.workspace.kinematics import Kinematics

    try:
        return Kinematics(options, config.joints)
    except WorkspaceError as error:
        key = "safety.workspace"
        raise ConfigError(
            config.path,
            [Mistake(key, f"found {text}, in the model {options.model}; correct one") for text in error.problems],
        ) from None
