"""Who is in which arm of an experiment: always the same, without a table of users."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pinjoin.core.errors import check


def assign(experiment: str, user_id: str, arms: Sequence[str]) -> str:
    """The arm of a user, each equally likely, independent of other experiments'.

    The same for the same names, in every process and for ever. The order of arms does not matter.

    >>> assign("ranker-2", "user-7", ["control", "treatment"])
    'control'
    """
    check(len(arms) > 0, "arms", "assign", "at least one", arms)
    name = f"{len(experiment)}:{experiment}{user_id}".encode("utf-8", "surrogatepass")
    drawn = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
    return sorted(arms)[drawn * len(arms) >> 64]
