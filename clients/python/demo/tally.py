"""What the demo counts, from many threads."""

import threading
from collections import Counter


class Tally:
    """Counters of what happened, by kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.cheats: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.problems: list[str] = []

    def count(self, what: str, number: int = 1) -> None:
        """Something that players did."""
        with self._lock:
            self.done[what] += number

    def refuse(self, code: str) -> None:
        """An ordinary refusal: not enough petals, a limit reached."""
        with self._lock:
            self.refused[code] += 1

    def caught(self, code: str) -> None:
        """An attempt at cheating that was refused."""
        with self._lock:
            self.cheats[code] += 1

    def retry(self, code: str) -> None:
        with self._lock:
            self.retries[code] += 1

    def problem(self, text: str) -> None:
        """Something that should not have happened."""
        with self._lock:
            self.problems.append(text)
