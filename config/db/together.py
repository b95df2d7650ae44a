"""Statements of several requests as one (config/combining.py).

For what many players do at the same moment, and what is a transaction of its own. Inside of a
caller's transaction each statement runs alone: what others wrote could not be taken back with it.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from django.db import DataError, IntegrityError, OperationalError, connection
from psycopg.errors import DeadlockDetected, LockNotAvailable

from config.combining import Combiner

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Combiner[Q, A]):
    """Runs one statement for several questions.

    run   takes the questions and returns their answers, by one statement, so that all or none of
          it happens
    once  what must not be twice in one statement (a row that is written), of a question

    What one question alone is to blame for must not fail the others: then each is run by itself,
    and fails by itself.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Q]], Sequence[A]],
        *,
        once: Callable[[Q], Hashable] = id,
    ) -> None:
        super().__init__(self._in_rounds)
        self._statement = run
        self._once = once

    def ask(self, question: Q) -> A:
        if connection.in_atomic_block:
            (answer,) = self._statement([question])
            return answer
        return super().ask(question)

    def _in_rounds(self, questions: Sequence[Q]) -> Sequence[A | Exception]:
        asked = [self._once(question) for question in questions]
        if len(set(asked)) == len(asked):
            return self._at_once(questions)
        rounds: list[dict[Hashable, int]] = []
        for number, name in enumerate(asked):
            free = next((names for names in rounds if name not in names), None)
            if free is None:
                rounds.append(free := {})
            free[name] = number
        answers: dict[int, A | Exception] = {}
        for names in rounds:
            numbers = list(names.values())
            answers.update(
                zip(numbers, self._at_once([questions[n] for n in numbers]), strict=True)
            )
        return [answers[number] for number in range(len(questions))]

    def _at_once(self, questions: Sequence[Q]) -> Sequence[A | Exception]:
        try:
            return self._statement(questions)
        except (DataError, IntegrityError, OperationalError) as error:
            # Which rows others lock, and in which order, is not up to us. After any other failure
            # of this kind nobody knows what the server has done.
            if isinstance(error, OperationalError) and not isinstance(
                error.__cause__, DeadlockDetected | LockNotAvailable
            ):
                return [error] * len(questions)
            if len(questions) == 1:
                return [error]
        except Exception as error:
            return [error] * len(questions)
        return [answer for question in questions for answer in self._at_once([question])]
