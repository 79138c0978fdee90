"""Counterfactual estimates of data frames: an event log with propensities, and a policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pinjoin.core.errors import InputError
from pinjoin.core.ids import NULL_CODE
from pinjoin.core.progress import Progress, silent
from pinjoin.core.types import Int64s
from pinjoin.data.event_log import FACTORS, EventLog
from pinjoin.data.events import PROPENSITY
from pinjoin.data.frames import action_codes, joined, plain, refuse_null, require, to_arrow
from pinjoin.experiments.counterfactual import (
    PolicyValue,
    RewardModel,
    ValueConfig,
    smoothed_rates,
    value_of_policy,
)
from pinjoin.experiments.logged import Impressions, match_policy
from pinjoin.ranking.coec import ENGAGEMENT, action_weights
from pinjoin.ranking.expected import Floats

_CALLER = "policy_value"
_NOT_CONTEXT = ("candidate", "probability")


def policy_value(
    events: Any,
    policy: Any,
    *,
    actions: Collection[str] | Mapping[str, float] = ENGAGEMENT,
    reward: str | None = None,
    unit: str | None = None,
    reward_model: RewardModel = smoothed_rates,
    config: ValueConfig | None = None,
    rng: np.random.Generator | None = None,
    progress: Progress = silent,
) -> PolicyValue:
    """What a policy would have earned per impression, from events that another one showed.

    Both are frames (pandas, polars, Arrow, … anything narwhals knows). `events` has one row per
    event: `request_id`, `candidate`, `action`, `propensity` (of impressions), and the policy's
    context columns; repeats count once, actions find their impression as in `pinjoin.coec`. Or
    one row per impression, with a column that `reward` names (a click as 0 or 1, money, …) in
    place of the actions.

    `policy` has a row for each item it may show in a context: `candidate`, `probability` (sum 1
    in each context), and any columns of the events that make the context: `position`, `query`, ….

    `actions`: which ones count, 1 each, or how much each. `unit`: the column of what is resampled
    together; by default `request_id`, or each impression by itself if there is none. The rest is
    as for `value_of_policy`.

    Raises InputError, naming column and value, for what is missing, unknown or out of range, and
    where policy and log overlap too little; ConfigError for a wrong parameter.

    >>> events = pa.table({"candidate": ["a", "b"] * 100, "propensity": [0.5] * 200,
    ...                    "click": [1, 0] * 100})
    >>> policy = pa.table({"candidate": ["a", "b"], "probability": [0.75, 0.25]})
    >>> found = policy_value(events, policy, reward="click").estimates
    >>> found["logged"].value, found["ips"].value  # 0.75 / 0.5 × 0.5 of the impressions
    (0.5, 0.75)
    """
    shares, _ = to_arrow(policy, None, "policy", _CALLER)
    context = _check_policy(shares)
    log, _ = to_arrow(events, None, "events", _CALLER)
    earning = ["request_id", "action"] if reward is None else [reward]
    require(log, ["candidate", "propensity", *context, *earning, *([unit] if unit else [])])
    if not log.num_rows:
        raise InputError("The events have no rows. Check where they come from.")
    item, policy_item, items = _together(log, shares, "candidate")
    where, policy_where = _contexts(log, shares, context)
    if reward is None:
        rows, done = joined(log, item.astype(np.uint32), action_codes(log))
        earned = action_weights(actions)[done]
    else:
        rows, earned = np.arange(log.num_rows), _numbers(log, reward, "events")
    pair, pairs = match_policy(
        where[rows],
        item[rows],
        (policy_where, policy_item, _numbers(shares, "probability", "policy")),
        lambda number: _name(log, context, int(np.argmax(where == number))),
        lambda number: f"candidate {items[number].as_py()!r}",
    )
    propensity = _numbers(log, "propensity", "events")[rows]
    impressions = Impressions(pair, earned, propensity, _units(log, unit)[rows])
    return value_of_policy(
        impressions, pairs, reward_model=reward_model, config=config, rng=rng, progress=progress
    )


def impressions_table(
    log: EventLog, actions: Collection[str] | Mapping[str, float] = ENGAGEMENT
) -> pa.Table:
    """The impressions of a log that was read from files, as events for `policy_value`: `query`,
    `candidate`, `position`, `device`, `surface`, `propensity`, `request` and `reward`.

    Raises InputError if no impression has a propensity.
    """
    if log.propensity is None or log.items is None:
        raise InputError(
            "The log has no propensities: without them nothing can be said of other policies. "
            f"Log with every impression {PROPENSITY}."
        )
    items = log.items.combine_chunks()
    levels = log.cells.levels[log.cell].T
    places = {
        factor: pa.DictionaryArray.from_arrays(
            pa.array(level.astype(np.int64), mask=level == NULL_CODE), pa.array(names, pa.string())
        )
        for factor, level, names in zip(FACTORS, levels, log.cells.names, strict=True)
    }
    return pa.table(
        {
            "query": pa.DictionaryArray.from_arrays(pa.array(log.query), items),
            "candidate": pa.DictionaryArray.from_arrays(pa.array(log.candidate), items),
            **places,
            "propensity": log.propensity,
            "request": log.request,
            "reward": action_weights(actions)[log.done],
        }
    )


def _check_policy(policy: pa.Table) -> list[str]:
    """The columns that make the context."""
    names = policy.column_names
    for name in _NOT_CONTEXT:
        if name not in names:
            raise InputError(
                f"The policy has no column {name!r}; there are {', '.join(names) or 'none'}. "
                "Rename yours."
            )
    if not policy.num_rows:
        raise InputError("The policy has no rows: one for each item that it may show is expected.")
    return [name for name in names if name not in _NOT_CONTEXT]


def _together(log: pa.Table, policy: pa.Table, name: str) -> tuple[Int64s, Int64s, pa.Array]:
    """A column of both as numbers, and what they stand for; null counts as a value."""
    ours, theirs = plain(log, name), plain(policy, name)
    if name == "candidate" and ours.null_count + theirs.null_count:
        raise InputError(
            f"{ours.null_count:,} rows of the events and {theirs.null_count:,} of the policy have "
            "no candidate. Leave them out or fill the id in."
        )
    try:
        theirs = theirs.cast(ours.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"Column {name!r} is {ours.type} in the events and {theirs.type} in the policy: "
            "make both one type."
        ) from error
    encoded = pa.concat_arrays([ours, theirs]).dictionary_encode(null_encoding="encode")
    numbers = encoded.indices.to_numpy().astype(np.int64)
    return numbers[: len(ours)], numbers[len(ours) :], encoded.dictionary


def _contexts(log: pa.Table, policy: pa.Table, columns: list[str]) -> tuple[Int64s, Int64s]:
    """The context of each row of both: distinct values of the columns."""
    n = log.num_rows
    number = np.zeros(n + policy.num_rows, np.int64)
    for name in columns:
        ours, theirs, values = _together(log, policy, name)
        key = number * len(values) + np.concatenate([ours, theirs])
        number = np.unique(key, return_inverse=True)[1]  # again dense: no product overflows
    return number[:n], number[n:]


def _name(table: pa.Table, columns: list[str], row: int) -> str:
    """The context of a row, in words."""
    return (
        ", ".join(f"{name} {table[name][row].as_py()!r}" for name in columns) or "its one context"
    )


def _numbers(table: pa.Table, name: str, what: str) -> Floats:
    """A column as float64, null as NaN."""
    column = plain(table, name)
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(
            f"Column {name!r} of the {what} has type {kind}: numbers are expected. Convert it."
        )
    numbers: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _units(log: pa.Table, unit: str | None) -> Int64s:
    """What each row is resampled with."""
    if unit is None and "request_id" not in log.column_names:
        return np.arange(log.num_rows)
    column = plain(log, unit or "request_id")
    refuse_null(column, unit or "request_id", "Fill it in, or name another column as unit.")
    numbers: Int64s = column.dictionary_encode().indices.to_numpy().astype(np.int64)
    return numbers
