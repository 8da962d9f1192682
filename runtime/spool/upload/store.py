"""One object on a server: written, and proven to be there. All of obstore is in this file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtime.link.budget import TokenBucket

PART = 8 * 1024 * 1024
"""Longer objects are sent in parts of this size, bytes."""
_PARALLEL = 4
"""So many parts are in memory and on their way at a time."""
_BLOCK = 2 * 1024 * 1024
_TIMEOUT_S = 120
_RETRY_S = 60
_NO_CHECKSUM = re.compile(r"(?!)")
_MD5 = defaultdict(lambda: _NO_CHECKSUM, s3=re.compile(r"[0-9a-f]{32}(-\d+)?"), gs=re.compile(r"[0-9a-f]{32}"))
"""What an ETag looks like that is a checksum, by scheme."""
_SECRETS = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|SAS", re.IGNORECASE)


class UploadError(Exception):
    """An object is not on the server, or it is not proven; the message holds no secret."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What a content is known by."""

    size: int
    """Bytes."""
    sha256: str
    md5: str
    """What S3 calls an ETag: of one part the MD5, of several that of their MD5s and their number."""

    @classmethod
    def of(cls, path: Path) -> Sums:
        """Read a whole file. Raises OSError."""
        with path.open("rb") as file:
            return cls._of(iter(lambda: file.read(PART), b""))

    @classmethod
    def of_bytes(cls, data: bytes) -> Sums:
        """The same for a short content."""
        return cls._of(iter([data]))

    @classmethod
    def _of(cls, parts: Any) -> Sums:
        size, whole, md5s = 0, hashlib.sha256(), []
        for part in parts:
            size += len(part)
            whole.update(part)
            md5s.append(hashlib.md5(part, usedforsecurity=False))
        if len(md5s) == 1:
            return cls(size, whole.hexdigest(), md5s[0].hexdigest())
        joined = hashlib.md5(b"".join(md5.digest() for md5 in md5s), usedforsecurity=False)
        return cls(size, whole.hexdigest(), f"{joined.hexdigest()}-{len(md5s)}")


class Store:
    """The server. Every method but the constructor raises UploadError and nothing else of the library."""

    def __init__(
        self, url: str, endpoint: str | None, region: str | None, confirm: str, rate_bps: float | None
    ) -> None:
        """See `[upload]`; `rate_bps`: bytes per second. Raises UploadError for a server that cannot be."""
        import obstore
        from obstore.store import from_url

        self._obstore: Any = obstore
        self._scheme = urlsplit(url).scheme
        self._read_back = confirm == "read_back"
        self._block = _BLOCK
        self._bucket: TokenBucket | None = None
        if rate_bps is not None:
            # A slow link gets small pieces: a large one would fill it for a long time.
            self._block = max(4096, min(_BLOCK, int(rate_bps / 4)))
            self._bucket = TokenBucket(rate_bps, self._block, time.monotonic())
        options: dict[str, Any] = {}
        if self._scheme == "file":
            options["mkdir"] = True
        else:
            http = url.startswith("http://") or (endpoint or "").startswith("http://")
            options["client_options"] = {"timeout": timedelta(seconds=_TIMEOUT_S), "allow_http": http}
            options["retry_config"] = {"max_retries": 3, "retry_timeout": timedelta(seconds=_RETRY_S)}
        if self._scheme == "s3":
            given = {"endpoint": endpoint, "region": region}
            options["config"] = {key: value for key, value in given.items() if value is not None}
        try:
            self._store: Any = from_url(url, **options)
        except Exception as error:  # the library's own, and ValueError
            raise UploadError(redacted(str(error), os.environ)) from None

    async def put(self, key: str, source: Path | bytes, sums: Sums, sent: Callable[[int], None]) -> None:
        """Write an object unless it is there already, and return when the server has proven that it has it.

        `sent` is told how many bytes are on their way. Raises UploadError, also when the source cannot be read.
        """
        try:
            if not await self._doubt(key, sums):
                return
            if isinstance(source, bytes):
                await self._obstore.put_async(self._store, key, source, use_multipart=False)
            elif sums.size <= PART or self._scheme in ("http", "https"):
                data = b"".join([block async for block in self._paced(source, sent)])
                await self._obstore.put_async(self._store, key, data, use_multipart=False)
            else:
                await self._obstore.put_async(
                    self._store,
                    key,
                    self._paced(source, sent),
                    use_multipart=True,
                    chunk_size=PART,
                    max_concurrency=_PARALLEL,
                )
            doubt = await self._doubt(key, sums)
        except UploadError:
            raise
        except Exception as error:  # the library's own, and what Python has for "not found" and the like
            raise UploadError(redacted(str(error), os.environ)) from None
        if doubt:
            raise UploadError(doubt)

    async def _doubt(self, key: str, sums: Sums) -> str:
        """Why it is not proven that the server has exactly this content; empty when it is."""
        try:
            head = await self._obstore.head_async(self._store, key)
        except (FileNotFoundError, self._obstore.exceptions.NotFoundError):
            return f"the server does not have {key}"
        if head["size"] != sums.size:
            return f"the server has {head['size']} bytes of {key}, expected {sums.size}"
        etag = str(head.get("e_tag") or "").strip('"')
        if not self._read_back and _MD5[self._scheme].fullmatch(etag):
            if etag == sums.md5:
                return ""
            return (
                f"the server's checksum of {key} is {etag}, expected {sums.md5}; if the bucket is encrypted with "
                'keys of its own, set upload.confirm = "read_back"'
            )
        hashed = hashlib.sha256()
        async for block in (await self._obstore.get_async(self._store, key)).stream(min_chunk_size=_BLOCK):
            hashed.update(bytes(block))
        return "" if hashed.hexdigest() == sums.sha256 else f"the server gives back another content of {key}"

    async def _paced(self, path: Path, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
        bucket = self._bucket
        with path.open("rb") as file:
            while block := await asyncio.to_thread(file.read, self._block):
                if bucket is not None:
                    while wait_s := bucket.wait(time.monotonic()):
                        await asyncio.sleep(wait_s)
                    bucket.take(len(block))
                yield block
                sent(len(block))


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """A message of the library without passwords, tokens and signed addresses, on one line and short."""
    text = text.partition("Debug source")[0]
    for name, value in environment.items():
        if _SECRETS.search(name) and len(value) >= 4:
            text = text.replace(value, "***")
    text = re.sub(r"//[^/@\s]+@", "//***@", text)
    text = re.sub(r"\?[^\s\"')]+", "?***", text)
    return " ".join(text.split())[:400]
