from __future__ import annotations

from pathlib import Path

from runtime.spool.upload import credentials


def given(folder: Path, text: str) -> tuple[dict[str, str], str | None]:
    (folder / credentials.NAME).write_text(text)
    environment = {"CREDENTIALS_DIRECTORY": str(folder)}
    return environment, credentials.load(environment)


def test_lines_of_the_credential_become_the_environment(tmp_path: Path) -> None:
    environment, problem = given(tmp_path, '# S3\n\nAWS_ACCESS_KEY_ID=abc\nAWS_SECRET_ACCESS_KEY="x=y"\n')
    assert problem is None
    assert environment["AWS_ACCESS_KEY_ID"] == "abc"
    assert environment["AWS_SECRET_ACCESS_KEY"] == "x=y"


def test_a_mistake_is_told_without_a_value(tmp_path: Path) -> None:
    _, problem = given(tmp_path, "AWS_ACCESS_KEY_ID=abc\nhunter2\n")
    assert problem is not None
    assert "line 2" in problem
    assert "hunter2" not in problem


def test_without_one_the_environment_is_as_it_was(tmp_path: Path) -> None:
    for environment in ({}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}):
        before = dict(environment)
        assert credentials.load(environment) is None
        assert environment == before
