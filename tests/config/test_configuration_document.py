"""`docs/configuration.md` says what the models say."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.joint import Joint
from runtime.config.document import document, main
from runtime.config.load import LISTS, SECTIONS

DOCUMENT = Path(__file__).parents[2] / "docs/configuration.md"


def test_the_document_is_not_stale() -> None:
    assert DOCUMENT.read_text() == document(), f"run `python -m runtime.config.document > {DOCUMENT.name}`"


def test_every_section_and_every_key_has_a_meaning() -> None:
    text = document()
    for name in SECTIONS:
        assert f"## `[{name}]`" in text
    for name in LISTS:
        assert f"## `[[{name}]]`" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(len(row.replace("\\|", "").split("|")) == 6 for row in rows)
    assert [row for row in rows if row.split("|")[-2].strip() == ""] == []
    assert all(f"| `{name}` |" in text for name in Joint.model_fields)


def test_drivers_are_described_with_their_own_keys() -> None:
    text = document()
    for kind, key in (("damiao", "bitrate"), ("dynamixel", "baud")):
        section = text.split(f'## `[[bus]]` with `type = "{kind}"`')[1].split("\n## ")[0]
        assert f"| `{key}` |" in section
        assert "| `name` |" not in section


def test_a_stale_document_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "configuration.md"
    path.write_text(document() + "more\n")
    assert main(["--check", str(path)]) == 1
    assert "is stale: run `python -m runtime.config.document" in capsys.readouterr().err
    path.write_text(document())
    assert main(["--check", str(path)]) == 0
    assert main(["--check"]) == 2
    assert main([]) == 0
    assert capsys.readouterr().out == document()
