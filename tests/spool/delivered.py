"""What a server has of the segments that the robot believes to be there."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import obstore

from tests.spool.server import BUCKET


def delivered(root: Path, url: str, prefix: str = "all") -> dict[str, int]:
    """Compare what is in `sent` with the server of `s3` at `url`: counts of segments.

    `objects`: of segments, or of their parts. `foreign`: those that no manifest names. `unsent`: without a
    manifest. `twice_sent`: with more than one key. `corrupt`: other content than the file's.
    """
    config = {"endpoint": url, "region": "us-east-1"}
    store = obstore.store.from_url(f"s3://{BUCKET}/{prefix}", config=config, client_options={"allow_http": True})
    keys = {entry["path"] for page in obstore.list(store) for entry in page if "/date=" in entry["path"]}
    manifests = [_read(store, key) for key in keys if key.endswith(".mcap.json")]
    objects = {key for key in keys if not key.endswith(".json")}
    named = Counter(told["segment"] for told in manifests)
    files = {path.name.partition(".")[0]: path for path in root.glob("sent/*/*.mcap")}
    return {
        "segments": len(files),
        "objects": len(objects),
        "foreign": len(objects - {part["key"] for told in manifests for part in told["parts"]}),
        "unsent": len(files.keys() - named.keys()),
        "twice_sent": sum(count > 1 for count in named.values()),
        "corrupt": sum(not _is_whole(store, told, files.get(told["segment"])) for told in manifests),
    }


def _read(store: Any, key: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bytes(obstore.get(store, key).bytes()))
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
