"""One object on a server: written, and proven to be there. All of obstore is in this file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from runtime.link.budget import TokenBucket
from runtime.spool.upload.sums import Sums

AUTHORIZATION = "UPLOAD_AUTHORIZATION"
"""The environment variable with the header of this name for plain HTTP."""
_BLOCK = 2 * 1024 * 1024
_TIMEOUT_S = 300
"""A part needs a link of 30 kB/s."""
_RETRY_S = 60
_CHECKSUM = re.compile(r"[0-9a-f]{32}")
_CHECKSUM_SCHEMES = ("s3", "gs")
"""An ETag of theirs that looks like an MD5 is the content's."""
_SECRETS = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|SAS|AUTHORIZATION", re.IGNORECASE)


class UploadError(Exception):
    """An object is not on the server, or it is not proven; the message holds no secret."""


class Store:
    """The server. Every method but the constructor raises UploadError and nothing else of the library."""

    def __init__(
        self,
        url: str,
        endpoint: str | None,
        region: str | None,
        confirm: str,
        rate_bps: float | None,
        retries: int = 3,
    ) -> None:
        """See `[upload]`; `rate_bps`: bytes per second; `retries`: of the library, within a request. Raises
        UploadError for a server that cannot be."""
        import obstore
        from obstore.store import from_url

        self._obstore: Any = obstore
        self._scheme = urlsplit(url).scheme
        self._read_back = confirm == "read_back"
        self._bucket = None if rate_bps is None else TokenBucket(rate_bps, rate_bps, time.monotonic())
        self._folder = Path(unquote(urlsplit(url).path))
        self._known: set[Path] = set()
        """Folders of a local directory whose own names are on the disk."""
        options: dict[str, Any] = {}
        if self._scheme == "file":
            options["mkdir"] = True
        else:
            http = url.startswith("http://") or (endpoint or "").startswith("http://")
            client: dict[str, Any] = {"timeout": timedelta(seconds=_TIMEOUT_S), "allow_http": http}
            if self._scheme in ("http", "https") and AUTHORIZATION in os.environ:
                client["default_headers"] = {"Authorization": os.environ[AUTHORIZATION]}
            options["client_options"] = client
            options["retry_config"] = {"max_retries": retries, "retry_timeout": timedelta(seconds=_RETRY_S)}
        given = {"endpoint": endpoint, "region": region}
        if self._scheme == "az":
            # The library wants the account apart, and the container in its place.
            given = {"endpoint": endpoint, "account_name": urlsplit(url).netloc}
            url = f"az:/{urlsplit(url).path}"
        if self._scheme in ("s3", "az"):
            options["config"] = {key: value for key, value in given.items() if value is not None}
        try:
            self._store: Any = from_url(url, **options)
        except Exception as error:  # the library's own, and ValueError
            raise UploadError(redacted(str(error), os.environ)) from None

    async def has(self, key: str, sums: Sums) -> bool:
        """Whether it is proven that the server has exactly this content. Raises UploadError."""
        return not await self._ask(self._doubt(key, sums))

    async def put(self, key: str, data: bytes, sums: Sums) -> None:
        """Write an object, and return when the server has proven that it has it. Raises UploadError."""
        if self._bucket is not None:
            while wait_s := self._bucket.wait(time.monotonic()):
                await asyncio.sleep(wait_s)
            self._bucket.take(len(data))
        told = await self._ask(self._obstore.put_async(self._store, key, data, use_multipart=False))
        if self._checksum(told) != sums.md5 and (doubt := await self._ask(self._doubt(key, sums))):
            raise UploadError(doubt)

    async def _ask(self, request: Awaitable[Any]) -> Any:
        try:
            return await request
        except Exception as error:  # the library's own, and what Python has for "not found" and the like
            raise UploadError(redacted(str(error), os.environ)) from None

    def _checksum(self, told: Mapping[str, Any]) -> str:
        """The MD5 by which the server itself knows a content; empty when it does not say."""
        etag = str(told.get("e_tag") or "").strip('"')
        known = self._scheme in _CHECKSUM_SCHEMES and not self._read_back and _CHECKSUM.fullmatch(etag)
        return etag if known else ""

    async def _doubt(self, key: str, sums: Sums) -> str:
        """Why it is not proven that the server has exactly this content; empty when it is."""
        try:
            head = await self._obstore.head_async(self._store, key)
        except (FileNotFoundError, self._obstore.exceptions.NotFoundError):
            return f"the server does not have {key}"
        if head["size"] != sums.size:
            return f"the server has {head['size']} bytes of {key}, expected {sums.size}"
        if etag := self._checksum(head):
            if etag == sums.md5:
                return ""
            return (
                f"the server's checksum of {key} is {etag}, expected {sums.md5}; if the bucket is encrypted with "
                'keys of its own, set upload.confirm = "read_back"'
            )
        if self._scheme == "file":
            await asyncio.to_thread(self._sync, self._folder / key)
        hashed = hashlib.sha256()
        async for block in (await self._obstore.get_async(self._store, key)).stream(min_chunk_size=_BLOCK):
            hashed.update(bytes(block))
        return "" if hashed.hexdigest() == sums.sha256 else f"the server gives back another content of {key}"

    def _sync(self, path: Path) -> None:
        """A file that was written here is on the disk, and will be read from there."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        folder = path.parent
        self._known.discard(folder)  # it has a new name in it
        while folder.is_relative_to(self._folder) and folder not in self._known:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._known.add(folder)
            folder = folder.parent


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """A message of the library without passwords, tokens and signed addresses, on one line and short."""
    text = text.partition("Debug source")[0]
    for name, value in environment.items():
        if _SECRETS.search(name) and len(value) >= 4:
            text = text.replace(value, "***")
    text = re.sub(r"//[^/@\s]+@", "//***@", text)
    text = re.sub(r"\?[^\s\"')]+", "?***", text)
    return " ".join(text.split())[:400]
