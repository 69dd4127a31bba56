"""The properties of the benchmarks' workload."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.benchmarks.plot import bar_charts
from tests.benchmarks.workload import KEPT, MIX, Operation, Requests


def lines(operation: Operation) -> list[str]:
    return [request.decode().split("\r\n")[0] for request in Requests.lasting(0.1, run=1, operation=operation)]


def test_seven_of_ten_requests_of_the_mix_are_reads() -> None:
    methods = Counter(line.split()[0] for line in lines(Operation.MIX))
    assert methods["GET"] == 0.7 * methods.total()
    assert set(MIX) == set(Operation) - {Operation.MIX}


@pytest.mark.parametrize("operation", [Operation.COMPLETE, Operation.DELETE, Operation.MIX])
def test_an_operation_that_succeeds_once_is_sent_once_for_an_existing_task(operation: Operation) -> None:
    requests = Requests.lasting(0.1, run=1, operation=operation)
    once = [line.split("/")[4].split()[0] for line in lines(operation) if line.startswith(("PATCH", "DELETE"))]
    assert len(set(once)) == len(once) == requests.spare
    assert sorted(int(task[-12:], 16) for task in once) == list(range(KEPT, KEPT + requests.spare))
    assert not requests.may_cycle


@pytest.mark.slow
def test_an_update_never_sets_the_title_that_a_task_has() -> None:
    titles: dict[bytes, bytes] = {}
    updates = list(Requests.lasting(1, run=1, operation=Operation.UPDATE))
    for request in updates * 2:
        path, _, rest = request.partition(b" HTTP/1.1\r\n")
        body = rest.rpartition(b"\r\n")[2]
        assert titles.get(path) != body
        titles[path] = body


@pytest.mark.slow
def test_consecutive_requests_concern_different_users() -> None:
    for operation in Operation:
        if operation != Operation.MIX:  # whose tasks to complete and delete are counted apart
            users = [r.split(b"/", 3)[2] for r in Requests.lasting(0.1, run=1, operation=operation)]
            assert all(one != other for one, other in pairwise(users))


def test_a_plot_has_a_bar_for_each_value() -> None:
    drawn = bar_charts({"Rate": {"get": {"one": 1.0, "two": 2.0}, "list": {"one": 1.0}}}, ["one", "two"])
    assert drawn.count("<rect") == 1 + 2 + 3  # the ground, the legend, the bars
