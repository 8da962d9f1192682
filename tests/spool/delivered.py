"""What a server has of the segments that the robot believes to be there."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import obstore

from tests.spool.server import BUCKET

WRONG = ("foreign", "torn", "unsent", "twice_sent", "corrupt")
"""What must be 0 of what `delivered` finds when nothing waits any more."""


def delivered(root: Path, url: str) -> dict[str, int]:
    """Compare what is in `sent` with the server of `s3` at `url`, or with a `file://` folder: counts of segments.

    `objects`: of segments, or of their parts. `foreign`: those that no manifest names. `torn`: manifests that are
    not whole; they count as none. `unsent`: without a manifest. `twice_sent`: with more than one key. `corrupt`:
    other content than the file's.
    """
    store = _open(url)
    keys = {entry["path"] for page in obstore.list(store) for entry in page if "/date=" in entry["path"]}
    read = [_read(store, key) for key in keys if key.endswith(".mcap.json")]
    manifests = [told for told in read if told is not None]
    objects = {key for key in keys if not key.endswith(".json")}
    named = Counter(told["segment"] for told in manifests)
    files = {path.name.partition(".")[0]: path for path in root.glob("sent/*/*.mcap")}
    return {
        "segments": len(files),
        "objects": len(objects),
        "foreign": len(objects - {part["key"] for told in manifests for part in told["parts"]}),
        "torn": len(read) - len(manifests),
        "unsent": len(files.keys() - named.keys()),
        "twice_sent": sum(count > 1 for count in named.values()),
        "corrupt": sum(not _is_whole(store, told, files.get(told["segment"])) for told in manifests),
    }


def _open(url: str) -> Any:
    if url.startswith("file:"):
        return obstore.store.from_url(url, mkdir=True)
    config = {"endpoint": url, "region": "us-east-1"}
    return obstore.store.from_url(f"s3://{BUCKET}/all", config=config, client_options={"allow_http": True})


def _read(store: Any, key: str) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(bytes(obstore.get(store, key).bytes()))
    except ValueError:
        return None
    return told


def _is_whole(store: Any, told: dict[str, Any], path: Path | None) -> bool:
    whole = hashlib.sha256()
    for part in told["parts"]:
        data = bytes(obstore.get(store, part["key"]).bytes())
        if hashlib.sha256(data).hexdigest() != part["sha256"]:
            return False
        whole.update(data)
    expected = told["sha256"] if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    return whole.hexdigest() == expected == told["sha256"]
