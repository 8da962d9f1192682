from __future__ import annotations

from safety.action import Action
from safety.monitors.clock import STANDS_NS, ClockSteps
from safety.watch import Clear

MS, S = 1_000_000, 1_000_000_000


class Clocks:
    """Two clocks in the test's hand; `delay_ns` passes between two questions."""

    def __init__(self) -> None:
        self.now_ns, self.offset_ns, self.delay_ns = 100 * S, 1_700_000_000 * S, 200
        self.watch = ClockSteps(S // 2, self.monotonic, self.realtime)

    def monotonic(self) -> int:
        self.now_ns += self.delay_ns
        return self.now_ns

    def realtime(self) -> int:
        self.now_ns += self.delay_ns
        return self.now_ns + self.offset_ns

    def look(self) -> list[str]:
        self.now_ns += 5 * MS
        return [flag.text for flag in self.watch.look(self.now_ns)]


def test_a_step_is_a_warning_for_a_while_and_no_more() -> None:
    clocks = Clocks()
    assert not clocks.look()
    clocks.offset_ns -= 3600 * S
    (flag,) = clocks.watch.look(clocks.now_ns)
    assert (flag.name, flag.action, flag.clear) == ("clock_step", Action.WARN, Clear.GONE)
    assert flag.text.startswith("the wall clock was set back by 3.6e+03 s: ")
    assert len(clocks.look()) == 1
    clocks.now_ns += STANDS_NS
    assert not clocks.look()


def test_a_second_step_is_told_as_well() -> None:
    clocks = Clocks()
    clocks.look()
    clocks.offset_ns -= 2 * S
    clocks.look()
    clocks.offset_ns += S
    assert clocks.look()[0].startswith("the wall clock was set forward by 1 s: ")


def test_small_steps_and_slewing_are_none() -> None:
    clocks = Clocks()
    for _ in range(1000):
        clocks.offset_ns += 499 * MS
        assert not clocks.look()


def test_a_machine_that_was_away_between_the_two_clocks_is_no_step() -> None:
    clocks = Clocks()
    clocks.look()
    clocks.delay_ns = 2 * S
    assert not clocks.look()
    clocks.delay_ns = 200
    assert not clocks.look()
    clocks.offset_ns += S
    assert clocks.look(), "and a step is found nevertheless"


def test_the_smallest_step_is_told_until_its_time_is_over() -> None:
    clocks = Clocks()
    clocks.look()
    clocks.offset_ns += S // 2
    at_ns = clocks.now_ns
    assert clocks.watch.look(at_ns)
    assert clocks.watch.look(at_ns + STANDS_NS - 1)
    assert not clocks.watch.look(at_ns + STANDS_NS)


def test_clocks_count_as_read_together_within_half_of_the_smallest_step() -> None:
    clocks = Clocks()
    clocks.look()
    clocks.offset_ns += 3600 * S
    clocks.delay_ns = S // 8  # twice, and it is half of the smallest step
    assert not clocks.look()
    clocks.delay_ns -= 1
    assert clocks.look()
