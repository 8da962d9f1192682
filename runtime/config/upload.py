"""The section `[upload]`, and what must hold of it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from drivers.joint import Name, Options

SCHEMES = ("s3", "gs", "az", "http", "https", "file")
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")

When = Literal["always", "unmetered", "never"]


class Classes(Options):
    """Which class of segments goes when: `always` over any link and at any time, `unmetered` neither over a
    metered link nor in quiet hours, or `never`."""

    safety: When = "always"
    """Segments that hold a stop."""
    intervention: When = "unmetered"
    """Segments in which a person intervened."""
    failure: When = "unmetered"
    """Segments of attempts that failed."""
    bulk: When = "unmetered"
    """All others."""
    rejected: When = "never"
    """Segments of episodes that the quality gates have found bad."""


class Upload(Options):
    """Where recordings go (extra `upload`). Left out: they stay on the robot. Credentials are never part of a
    config: see docs/spool.md."""

    url: str
    """Where to: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://ACCOUNT/CONTAINER/PREFIX`, `https://HOST/PATH`
    (a server that takes PUT, such as WebDAV) or `file:///FOLDER`."""
    endpoint: str | None = None
    """Address of another server: `https://minio.local:9000` for one that is compatible with S3,
    `https://HOST/ACCOUNT` with Azure. Left out: the provider's own."""
    region: str | None = None
    """Region of an S3 bucket. Left out: what the environment says."""
    fleet: Name = "default"
    """Name of the fleet; it becomes part of every key."""
    rate: float | None = Field(default=None, gt=0)
    """Highest rate, MB/s (10^6 bytes). Left out: as fast as the link is."""
    quiet_hours: tuple[str, ...] = ()
    """Times of the day, in the robot's local time, when only what goes `always` is sent: `["07:00-19:30"]`. A span
    may go over midnight."""
    metered: tuple[str, ...] = ()
    """Network interfaces that cost money, such as `wwan0`: the link counts as metered while the default route goes
    through one of them."""
    confirm: Literal["checksum", "read_back"] = "checksum"
    """What proves that the server has a segment: its own checksum, or, where it has none, what it gives back; or
    always what it gives back. An S3 bucket with KMS keys of its own needs `read_back`."""
    when: Classes = Field(default_factory=Classes)
    """Which class goes when."""

    @field_validator("url")
    @classmethod
    def _url_is_one_of_ours(cls, value: str) -> str:
        _refuse_secrets(value)
        parts = urlsplit(value)
        where = parts.path.strip("/") if parts.scheme == "file" else parts.netloc
        if parts.scheme not in SCHEMES or not where:
            expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ValueError(
                f'found "{value}", expected an address that begins with one of {expected}; correct it'
            )
        if parts.scheme == "az" and not parts.path.strip("/"):
            raise ValueError(f'found "{value}", expected az://ACCOUNT/CONTAINER; add the container')
        return value

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_an_address(cls, value: str | None) -> str | None:
        if value is not None:
            _refuse_secrets(value)
            if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc:
                raise ValueError(f'found "{value}", expected an address that begins with https:// or http://')
        return value

    @field_validator("quiet_hours")
    @classmethod
    def _hours_are_spans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for span in value:
            if not _HOURS.fullmatch(span):
                raise ValueError(f'found "{span}", expected times like "22:00-06:30"; correct it')
        return value


def _refuse_secrets(address: str) -> None:
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query:
        # Not what was found: it may be a secret.
        raise ValueError("found a user, a password or a token, expected an address without; see docs/spool.md")


def missing_package() -> str | None:
    """What to do when the package that uploads is not installed; None when it is."""
    if find_spec("obstore") is not None:
        return None
    return "found no package obstore, which uploads; install it with `pip install 'reflexd[upload]'`"
