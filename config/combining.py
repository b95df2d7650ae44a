"""Requests that wait at the same moment ask together.

A round trip costs more in waking threads and processes than in work. Where several threads of one
process want the same kind of thing at once, one of them asks for all that wait, and the others
sleep until it has their answers: one statement, one commit, one trip. Whoever asks lets those go
first that can run, and does not wait for company: with a single thread each asks at once.

The technique is flat combining (Hendler, Incze, Shavit, Tzafrir, 2010), known in databases as
group commit.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar, cast

Q = TypeVar("Q")
A = TypeVar("A")


class _Ticket(Generic[Q, A]):
    """A thread that waits: for its answer, or for its turn to ask for others."""

    __slots__ = ("answer", "gate", "leads", "question")

    def __init__(self, question: Q) -> None:
        self.question = question
        self.answer: A | Exception | None = None
        self.leads = False
        self.gate = Lock()
        self.gate.acquire()


class Combiner(Generic[Q, A]):
    """Asks `run` about several questions at once, by one thread at a time.

    run   takes questions and returns as many answers in their order; an exception as an answer
          is raised where that question came from, one that is raised goes to all of them
    most  the longest list of questions
    """

    def __init__(
        self,
        run: Callable[[Sequence[Q]], Sequence[A | Exception]],
        *,
        most: int = 32,
    ) -> None:
        self._run = run
        self._most = most
        self._is_free = True
        self._lock = Lock()
        self._waiting: deque[_Ticket[Q, A]] = deque()

    def ask(self, question: Q) -> A:
        """The answer to one question, asked with those of other threads that wait."""
        ticket: _Ticket[Q, A] = _Ticket(question)
        with self._lock:
            if self._is_free:
                self._is_free = False
                ticket.leads = True
            else:
                self._waiting.append(ticket)
        if not ticket.leads:
            ticket.gate.acquire()
        if ticket.leads:
            self._lead(ticket)
        if isinstance(ticket.answer, Exception):
            raise ticket.answer
        return cast(A, ticket.answer)

    def _lead(self, first: _Ticket[Q, A]) -> None:
        # Who can run does so first, and may want the same.
        time.sleep(0)
        with self._lock:
            others = min(self._most - 1, len(self._waiting))
            batch = [first, *(self._waiting.popleft() for _ in range(others))]
        answers: Sequence[A | Exception] | None = None
        failure: Exception = RuntimeError("The thread that asked was stopped")
        try:
            answers = self._run([ticket.question for ticket in batch])
            if len(answers) != len(batch):
                failure, answers = RuntimeError("Not as many answers as questions"), None
        except Exception as error:
            failure = error
        finally:
            # First the next one may ask, then the answers are handed out.
            self._pass_on()
            for number, ticket in enumerate(batch):
                ticket.answer = failure if answers is None else answers[number]
                if number:
                    ticket.gate.release()

    def _pass_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._is_free = True
                return
            ticket = self._waiting.popleft()
        ticket.leads = True
        ticket.gate.release()
