"""Whether pictures can be believed, frame by frame."""

import numpy as np

from runtime.cameras.worker.watch import BLACK, Watch

S = 1_000_000_000


def picture(shade: float) -> np.ndarray:
    return np.full((16, 16, 3), shade, np.uint8)


def test_the_same_picture_for_too_long_is_frozen():
    watch = Watch(2.0, 0)
    assert not watch.look(picture(90), 0)
    assert not watch.look(picture(90), 2 * S - 1)
    assert watch.look(picture(90), 2 * S)
    assert watch.fault == "frozen"
    other = picture(90)
    other[3, 3, 1] += 1
    assert watch.look(other, 3 * S), "one pixel is enough"
    assert watch.fault == ""
    assert not watch.look(other, 5 * S - 1)
    assert watch.look(other, 5 * S)


def test_black_for_too_long_is_black():
    watch = Watch(0, 1.0)
    assert not watch.look(picture(BLACK), 0)
    assert watch.look(picture(0), S)
    assert watch.fault == "black"
    assert watch.look(picture(BLACK + 1), 2 * S)
    assert watch.fault == ""
    assert not watch.look(picture(0), 3 * S)
    assert not watch.look(picture(0), 4 * S - 1), "it counts from the first black picture"


def test_black_goes_before_frozen():
    watch = Watch(1.0, 1.0)
    watch.look(picture(0), 0)
    watch.look(picture(0), S)
    assert watch.fault == "black"


def test_what_is_switched_off_is_not_noticed():
    watch = Watch(0, 0)
    for second in range(100):
        assert not watch.look(picture(0), second * S)
