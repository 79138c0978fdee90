"""What a log knows of the person behind a request: recent images, the phrase, the locale."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from pinjoin.core.ids import NULL_CODE
from pinjoin.core.types import Int64s, UInt32s
from pinjoin.data.event_log import EventLog
from pinjoin.features.context import RECENT, Context
from pinjoin.features.pair_schema import CONTEXT
from pinjoin.filters import filter_columns
from pinjoin.ranking.expected import Floats
from pinjoin.recommender import Workspace

Bools = npt.NDArray[np.bool_]

LOCALE = "locale"
"""The column of the pins that says whom an image is for."""

_KEPT = 10_000  # phrases and locales, so that each is looked at once
_OF_PHRASE, _OF_LOCALE = "context.phrase_similarity", "context.locale"


class People:
    """The context of each impression of a log.

    Recent images are the queries of the person's earlier requests and what they acted on there,
    the latest first; only requests that began earlier count.
    """

    def __init__(self, workspace: Workspace, log: EventLog, worth: Floats) -> None:
        """log: in the workspace's rows; worth: (impressions,) above 0 where something was done."""
        self._workspace, self._log, self._worth = workspace, log, worth
        self._begins = log.begins
        text = filter_columns(workspace).get(LOCALE) == "text"
        columns = (log.user, log.phrase, log.locale if text else None)
        self._user, self._phrase, self._locale = (
            np.full(len(log), NULL_CODE, np.uint32) if column is None else column
            for column in columns
        )
        self._said = lru_cache(_KEPT)(self._say)

    @property
    def known(self) -> Bools:
        """(impressions,) of which anything is known."""
        mask: Bools = self._has_history | (self._phrase != NULL_CODE) | (self._locale != NULL_CODE)
        return mask

    @property
    def unknown_features(self) -> tuple[str, ...]:
        """The features of a request's context that this log cannot teach."""
        by_history = set(CONTEXT) - {_OF_PHRASE, _OF_LOCALE}
        known = by_history if self._has_history.any() else set()
        known |= {_OF_PHRASE} if (self._phrase != NULL_CODE).any() else set()
        known |= {_OF_LOCALE} if (self._locale != NULL_CODE).any() else set()
        return tuple(name for name in CONTEXT if name not in known)

    def of(self, impression: int) -> Context:
        """What the request of an impression could have said."""
        said = self._said(int(self._phrase[impression]), int(self._locale[impression]))
        return replace(said, recent=self.recent(impression))

    def recent(self, impression: int) -> list[int]:
        """Rows of the images that the person looked at last, not the query."""
        user = int(self._user[impression])
        if user == NULL_CODE:
            return []
        starts, when, items = self._histories
        first, last = starts[user : user + 2]
        last = first + np.searchsorted(when[first:last], self._begins[impression])
        query = int(self._log.query[impression])
        seen: dict[int, None] = {}
        for item in items[first:last][::-1].tolist():
            if item != query:
                seen[item] = None
            if len(seen) == RECENT:
                break
        return list(seen)

    def _say(self, phrase: int, locale: int) -> Context:
        words, place = (
            None if names is None or number == NULL_CODE else names[number].as_py()
            for names, number in ((self._log.phrases, phrase), (self._log.locales, locale))
        )
        return self._workspace.context(phrase=words, locale=place) or Context()

    @cached_property
    def _has_history(self) -> Bools:
        starts, when, _ = self._histories
        first = np.full(len(starts) - 1, np.iinfo(np.int64).max)
        some = starts[:-1] < starts[1:]
        first[some] = when[starts[:-1][some]]
        known = self._user != NULL_CODE
        mask = np.zeros(len(known), bool)
        mask[known] = first[self._user[known]] < self._begins[known]
        return mask

    @cached_property
    def _histories(self) -> tuple[Int64s, Int64s, UInt32s]:
        """(where each user's items begin, when each was looked at, its row), by user, then time."""
        log = self._log
        _, asked = np.unique(log.request, return_index=True)
        acted = np.flatnonzero(self._worth > 0)
        events = np.concatenate([asked, acted])
        items = np.concatenate([log.query[asked], log.candidate[acted]])
        there = self._user[events] != NULL_CODE
        events, items = events[there], items[there]
        user, when = self._user[events], self._begins[events]
        order = np.lexsort((np.arange(len(when)), when, user))
        everyone = self._user[self._user != NULL_CODE]
        users = np.arange(int(everyone.max(initial=0)) + 2)
        return np.searchsorted(user[order], users), when[order], items[order]
