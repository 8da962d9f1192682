from __future__ import annotations

from runtime.spool.upload.rate import Rate


def test_the_rate_is_of_the_time_in_which_something_went() -> None:
    rate = Rate()
    rate.begin(0.0)
    rate.take(5.0)  # the server had it all
    assert rate.bps == 0.0
    rate.add(100)
    rate.add(100)
    rate.take(25.0)
    assert rate.bps == 10.0
    rate.begin(5000.0)
    rate.add(900)
    rate.take(5030.0)  # half of the time that it averages over
    assert rate.bps == 20.0
