"""One object on a server: written, and proven to be there. All of obstore is in this file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from runtime.spool.upload.sums import Sums
from runtime.spool.upload.turns import Rank, Turns

AUTHORIZATION = "UPLOAD_AUTHORIZATION"
"""The environment variable with the header of this name for plain HTTP."""
_BLOCK = 512 * 1024
_TIMEOUT_S = 300
"""A part needs a link of 60 kB/s; after a failure, when one goes at a time, of 30 kB/s."""
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
        self.needs_md5 = self._scheme in _CHECKSUM_SCHEMES and not self._read_back
        """Whether `Sums` have to hold an MD5: the server proves by it what it has."""
        self._turns = Turns(rate_bps)
        self._folder = Path(unquote(urlsplit(url).path))
        self._named: set[Path] = set()
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

    async def put(self, key: str, content: Callable[[], bytes], sums: Sums, rank: Rank) -> None:
        """Write an object when its turn comes, and return when the server has proven that it has it.

        `content` is called in a thread, when the turn has come. Raises UploadError, and what `content` raises."""
        async with self._turns.turn(rank, sums.size):
            data = await asyncio.to_thread(content)
            told = await self._ask(self._obstore.put_async(self._store, key, data, use_multipart=False))
        # Another content goes over the link meanwhile.
        etag = self._checksum(told)
        if (not etag or etag != sums.md5) and (doubt := await self._ask(self._doubt(key, sums))):
            raise UploadError(doubt)

    async def _ask(self, request: Awaitable[Any]) -> Any:
        try:
            return await request
        except Exception as error:  # the library's own, and what Python has for "not found" and the like
            raise UploadError(redacted(str(error), os.environ)) from None

    def _checksum(self, told: Mapping[str, Any]) -> str:
        """The MD5 by which the server itself knows a content; empty when it does not say."""
        etag = str(told.get("e_tag") or "").strip('"')
        return etag if self.needs_md5 and _CHECKSUM.fullmatch(etag) else ""

    async def _doubt(self, key: str, sums: Sums) -> str:
        """Why it is not proven that the server has exactly this content; empty when it is."""
        try:
            if self._scheme == "file":
                return await asyncio.to_thread(self._doubt_on_disk, key, sums)
            if self.needs_md5:
                head = await self._obstore.head_async(self._store, key)
                if doubt := _wrong_size(key, head["size"], sums):
                    return doubt
                if etag := self._checksum(head):
                    return "" if etag == sums.md5 else _wrong_checksum(key, etag, sums)
            found = await self._obstore.get_async(self._store, key)
        except (FileNotFoundError, self._obstore.exceptions.NotFoundError):
            return f"the server does not have {key}"
        if doubt := _wrong_size(key, found.meta["size"], sums):
            return doubt
        hashed = hashlib.sha256()
        async for block in found.stream(min_chunk_size=_BLOCK):
            hashed.update(block)
        return _wrong_content(key, hashed.hexdigest(), sums)

    def _doubt_on_disk(self, key: str, sums: Sums) -> str:
        """The same for a local directory: the file is written to the disk, and read from there.

        A sync alone is the disk's word that it took the bytes; only what comes back shows a bad cable, a stick
        that is smaller than it says, or a server of network files that keeps something else."""
        path = self._folder / key
        with path.open("rb", buffering=0) as file:
            if doubt := _wrong_size(key, os.fstat(file.fileno()).st_size, sums):
                return doubt
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            found = hashlib.file_digest(file, "sha256").hexdigest()
        self._sync_names(path)
        return _wrong_content(key, found, sums)

    def _sync_names(self, path: Path) -> None:
        """The name of a file, and those of its folders, are on the disk. Callable from any thread."""
        _sync_folder(path.parent)
        inside = [folder for folder in path.parents if self._folder in folder.parents]
        outer = [folder for folder in inside if folder not in self._named]
        for folder in outer:
            _sync_folder(folder.parent)
        self._named.update(outer)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wrong_size(key: str, found: int, sums: Sums) -> str:
    return "" if found == sums.size else f"the server has {found} bytes of {key}, expected {sums.size}"


def _wrong_checksum(key: str, etag: str, sums: Sums) -> str:
    return (
        f"the server's checksum of {key} is {etag}, expected {sums.md5}; if the bucket is encrypted with "
        'keys of its own, set upload.confirm = "read_back"'
    )


def _wrong_content(key: str, sha256: str, sums: Sums) -> str:
    return "" if sha256 == sums.sha256 else f"the server gives back another content of {key}"


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """A message of the library without passwords, tokens and signed addresses, on one line and short."""
    text = text.partition("Debug source")[0]
    for name, value in environment.items():
        if _SECRETS.search(name) and len(value) >= 4:
            text = text.replace(value, "***")
    text = re.sub(r"//[^/@\s]+@", "//***@", text)
    text = re.sub(r"\?[^\s\"')]+", "?***", text)
    return " ".join(text.split())[:400]
