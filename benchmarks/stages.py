"""`pinjoin`, that also adds up the processor time of what a request goes through.

    python benchmarks/stages.py TOTALS serve WORKSPACE …

TOTALS is a file of float64: the seconds of each of STAGES, in that order.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

STAGES = ("answer", "ranking", "lookup")
"""All that a thread does for an answer; of it, candidates, features, scores and the best; and
finding the row of the id. The rest of it makes JSON."""


class Totals:
    """Sums that another process may read."""

    def __init__(self, path: Path) -> None:
        self._sums = np.memmap(path, np.float64, "r+", shape=len(STAGES))
        self._lock = threading.Lock()

    def count(self, holder: Any, name: str, stage: str) -> None:
        """Add up the processor time of a function or method from now on."""
        work, place = getattr(holder, name), STAGES.index(stage)

        @wraps(work)
        def counted(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                spent = time.thread_time() - start
                with self._lock:
                    self._sums[place] += spent

        setattr(holder, name, counted)


def read(path: Path) -> dict[str, float]:
    """The sums until now."""
    return dict(zip(STAGES, np.fromfile(path, np.float64).tolist(), strict=True))


def main() -> None:
    from pinjoin.cli import main as pinjoin
    from pinjoin.live.version import Version
    from pinjoin.serving import answers
    from pinjoin.serving.switching import Now

    totals = Totals(Path(sys.argv.pop(1)))
    totals.count(answers, "related", "answer")
    totals.count(Version, "rank", "ranking")
    totals.count(Now, "find", "lookup")
    pinjoin()


if __name__ == "__main__":
    main()
