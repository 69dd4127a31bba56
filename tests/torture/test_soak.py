"""The soak detects what it is for; the soak itself takes minutes."""

import pytest

from tests.torture.resources import Sample, flat


@pytest.mark.parametrize(
    ("kib", "is_flat"),
    [
        ([50, *[100] * 99], True),  # at the start, before the first requests
        ([100] * 50 + [300] + [100] * 49, True),
        ([*range(1000, 1050)], True),
        ([*range(1000, 1070)], False),
        ([100] * 90 + [106] * 10, False),
        ([100] * 90 + [94] * 10, False),
    ],
)
def test_memory_that_grows_is_detected(kib: list[int], is_flat: bool) -> None:
    assert flat(0, [Sample(kib=size, files=9) for size in kib]).kept == is_flat
