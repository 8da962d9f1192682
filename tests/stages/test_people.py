"""Who may sign: another person than those who operated, each under an account of their own."""

from __future__ import annotations

import os
import pwd

import pytest

from runtime.stages.people import Person, objections

ROOT, ALICE, BOB = Person(0, "root"), Person(1000, "alice"), Person(1001, "bob")


def test_another_person_may_sign() -> None:
    assert objections("bob", BOB, {ALICE}, single_person=False) == []


def test_the_one_who_operated_may_not() -> None:
    (reason,) = objections("alice", ALICE, {ALICE}, single_person=False)
    assert "alice has operated the robot in this run" in reason
    assert "single_person" in reason


def test_a_name_that_is_not_the_account_s_is_refused() -> None:
    (reason,) = objections("bob", ALICE, {BOB}, single_person=False)
    assert reason.startswith("found the name bob, but the account that signs is alice")


def test_root_is_nobody_on_either_side() -> None:
    (reason,) = objections("root", ROOT, {ALICE}, single_person=False)
    assert "root cannot sign" in reason
    (reason,) = objections("bob", BOB, {ROOT, ALICE}, single_person=False)
    assert "root has operated" in reason


def test_without_an_operator_there_is_no_second_person() -> None:
    (reason,) = objections("bob", BOB, set(), single_person=False)
    assert "nobody has operated" in reason


def test_all_objections_come_at_once() -> None:
    assert len(objections("bob", ALICE, {ALICE, ROOT}, single_person=False)) == 3


def test_a_config_may_say_that_there_is_one_person_only_but_a_name_it_takes() -> None:
    assert objections("bob", ALICE, {ALICE, ROOT}, single_person=True) == []
    assert objections("bob", ROOT, set(), single_person=True) == []


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 65])
def test_no_name_is_no_signature(name: str) -> None:
    for single in (True, False):
        assert objections(name, BOB, {ALICE}, single_person=single)


def test_a_person_has_the_name_of_the_account() -> None:
    assert Person.of(os.getuid()) == Person(os.getuid(), pwd.getpwuid(os.getuid()).pw_name)
    assert Person.of(2**31 - 7) == Person(2**31 - 7, f"user {2**31 - 7}")
