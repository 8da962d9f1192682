"""Which stage is in force, and the clock of a run: never more than was signed off, whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime.stages.run import Run
from runtime.stages.stage import SignOff, Stage, in_force

PARTS = {"control": "a1", "joint.elbow": "b2", "model": "c3"}
CHANGES = ({**PARTS, "joint.elbow": "other"}, {**PARTS, "joint.wrist": "new"}, {"control": "a1", "model": "c3"})


def signed(stage: Stage, parts: dict[str, str] = PARTS) -> SignOff:
    return SignOff(stage, parts, "bob", "bob", ("alice",), 1)


def test_a_new_robot_starts_at_the_lowest_stage() -> None:
    assert in_force(None, PARTS) == (Stage.SENSORS, ["no sign-off is stored: a new robot"])


def test_what_was_signed_off_holds_while_every_part_is_the_same() -> None:
    for stage in Stage:
        assert in_force(signed(stage), dict(PARTS)) == (stage, [])


def test_every_changed_missing_and_added_part_lowers_it_and_is_named() -> None:
    for parts, name in zip(CHANGES, ("joint.elbow", "joint.wrist", "joint.elbow"), strict=True):
        reason = f"{name} has changed since bob signed it off"
        assert in_force(signed(Stage.FULL), parts) == (Stage.SENSORS, [reason])


def test_the_stages_follow_each_other_and_the_last_one_is_the_last() -> None:
    assert [stage.next for stage in Stage] == [Stage.QUARTER, Stage.HALF, Stage.FULL, Stage.FULL]
    assert [stage.scale for stage in Stage] == [0.25, 0.25, 0.5, 1.0]


def test_only_the_time_between_two_looks_that_both_saw_work_counts() -> None:
    run = Run(needed_ns=100)
    for at, works in ((0, False), (10, True), (20, True), (30, False), (40, False), (50, True), (60, True)):
        run.look(at, works)
    assert run.elapsed_ns == 20
    assert not run.complete
    run.look(139, True)
    assert not run.complete, "one nanosecond is missing"
    run.look(140, True)
    assert run.complete


def test_a_safety_event_begins_it_anew_and_its_own_moment_does_not_count() -> None:
    run = Run(needed_ns=100)
    run.look(0, True)
    run.look(100, True)
    assert run.complete
    run.begin_anew("the e-stop was pressed")
    assert (run.elapsed_ns, run.complete, run.broken_by) == (0, False, "the e-stop was pressed")
    run.look(150, True)
    assert run.elapsed_ns == 0
    run.look(160, True)
    assert run.elapsed_ns == 10


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans(), st.booleans())))
def test_a_run_never_counts_more_than_has_passed_since_its_last_event(steps: list[tuple[int, bool, bool]]) -> None:
    run, now, since = Run(needed_ns=500), 0, 0
    for passed, works, event in steps:
        now += passed
        run.look(now, works)
        if event:
            run.begin_anew("an event")
            since = now
        assert 0 <= run.elapsed_ns <= now - since
        assert run.complete == (run.elapsed_ns >= 500)


class Robot(RuleBasedStateMachine):
    """A robot that is changed, changed back, signed off and restarted in any order."""

    @initialize()
    def new(self) -> None:
        self.parts: dict[str, str] = dict(PARTS)
        self.stored: SignOff | None = None
        self.words: dict[tuple[tuple[str, str], ...], Stage] = {}

    @rule(
        value=st.sampled_from(("b2", "x", "y")),
        part=st.sampled_from(("control", "joint.elbow", "model", "policy")),
    )
    def change(self, part: str, value: str) -> None:
        self.parts = {**self.parts, part: value}

    @rule(part=st.sampled_from(("control", "joint.elbow", "model", "policy")))
    def remove(self, part: str) -> None:
        self.parts = {name: value for name, value in self.parts.items() if name != part}

    @rule()
    def sign(self) -> None:
        before, _ = in_force(self.stored, self.parts)
        self.stored = SignOff(before.next, dict(self.parts), "bob", "bob", ("alice",), 1)
        self.words = {tuple(sorted(self.parts.items())): before.next}

    @rule()
    def lose_the_file(self) -> None:
        self.stored, self.words = None, {}

    @invariant()
    def never_higher_than_signed_off_for_these_very_parts(self) -> None:
        stage, lowered = in_force(self.stored, self.parts)
        assert stage == self.words.get(tuple(sorted(self.parts.items())), Stage.SENSORS)
        assert bool(lowered) == (stage is Stage.SENSORS)


TestRobot = Robot.TestCase
