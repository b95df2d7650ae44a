"""Threads that wait at the same moment ask as one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from config.combining import Combiner
from tests.concurrency.gathering import together


class Asked:
    """A `run` that remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, questions: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(questions))
        return [ValueError(n) if n < 0 else n * 10 for n in questions]


def asking(combiner: Combiner[int, int], numbers: Sequence[int]) -> list[Any]:
    return together(combiner, [partial(combiner.ask, n) for n in numbers])


def test_alone__asks_at_once() -> None:
    asked = Asked()
    combiner: Combiner[int, int] = Combiner(asked)

    assert [combiner.ask(1), combiner.ask(2)] == [10, 20]
    assert asked.batches == [[1], [2]]


def test_waiting_threads__are_asked_for_as_one() -> None:
    asked = Asked()
    combiner: Combiner[int, int] = Combiner(asked)

    assert asking(combiner, range(12)) == [n * 10 for n in range(12)]
    assert [sorted(batch) for batch in asked.batches] == [list(range(12))]
    assert combiner.ask(1) == 10  # nobody is asking any more


def test_more_than_the_most__go_in_several_lists() -> None:
    asked = Asked()
    combiner: Combiner[int, int] = Combiner(asked, most=5)

    assert asking(combiner, range(12)) == [n * 10 for n in range(12)]
    assert [len(batch) for batch in asked.batches] == [5, 5, 2]


def test_an_exception_as_an_answer__is_raised_where_it_was_asked() -> None:
    combiner: Combiner[int, int] = Combiner(Asked())

    first, second, third = asking(combiner, [1, -2, 3])
    assert (first, third) == (10, 30)
    assert isinstance(second, ValueError)


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda questions: 1 / 0, id="raises"),
        pytest.param(lambda questions: [1], id="answers too few"),
    ],
)
def test_a_run_that_fails__fails_for_all_and_lets_others_ask(run: Any) -> None:
    combiner: Combiner[int, int] = Combiner(run)

    answers = asking(combiner, [1, 2, 3])
    assert all(isinstance(a, ZeroDivisionError | RuntimeError) for a in answers), answers
    assert combiner._is_free


def test_a_thread_that_is_stopped_while_it_asks__leaves_nobody_waiting() -> None:
    combiner: Combiner[int, int]

    def stop(questions: Sequence[int]) -> list[int | Exception]:
        raise SystemExit

    combiner = Combiner(stop)
    with pytest.raises(SystemExit):
        combiner.ask(1)
    assert combiner._is_free
