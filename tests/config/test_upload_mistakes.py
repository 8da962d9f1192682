"""Mistakes in `[upload]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Mistakes = Callable[[dict[str, Any]], list[str]]
BUCKET = {"url": "s3://bucket/robots"}
SCHEMES = "s3://, gs://, az://, http://, https://, file://"


@pytest.mark.parametrize(
    ("upload", "mistake"),
    [
        ({}, "upload.url: found nothing, expected a value (where to); add it"),
        (
            {"url": "ftp://x"},
            f'upload.url: found "ftp://x", expected an address that begins with one of {SCHEMES}; correct it',
        ),
        (
            {"url": "file:///"},
            f'upload.url: found "file:///", expected an address that begins with one of {SCHEMES}; correct it',
        ),
        (
            {**BUCKET, "endpoint": "minio:9000"},
            'upload.endpoint: found "minio:9000", expected an address that begins with https:// or http://',
        ),
        (
            {"url": "az://recordings"},
            'upload.url: found "az://recordings", expected az://ACCOUNT/CONTAINER; add the container',
        ),
        (
            {**BUCKET, "quiet_hours": ["7-9"]},
            'upload.quiet_hours: found "7-9", expected times like "22:00-06:30"; correct it',
        ),
        (
            {**BUCKET, "when": {"bulk": "sometimes"}},
            'upload.when.bulk: found "sometimes", expected "always", "unmetered" or "never"; write one of these',
        ),
    ],
)
def test_mistake(mistakes_of: Mistakes, upload: dict[str, Any], mistake: str) -> None:
    assert mistakes_of({"upload": upload}) == [mistake]


@pytest.mark.parametrize(
    "upload",
    [
        {"url": "https://user:hunter2@host/x"},
        {"url": "az://a/c?sig=hunter2"},
        {**BUCKET, "endpoint": "https://hunter2@host"},
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(mistakes_of: Mistakes, upload: dict[str, Any]) -> None:
    (told,) = mistakes_of({"upload": upload})
    assert "without; see docs/spool.md" in told
    assert "hunter2" not in told


def test_without_the_package_it_says_what_to_install(
    mistakes_of: Mistakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.config.upload.find_spec", lambda name: None)
    (told,) = mistakes_of({"upload": BUCKET})
    assert "pip install 'reflexd[upload]'" in told


def test_an_upload_of_nothing_is_a_warning(load_with: Callable[..., Any]) -> None:
    config = load_with(overrides={"upload": BUCKET, "recording.enabled": False})
    assert "[upload] sends nothing, because recording.enabled is false" in config.warnings
