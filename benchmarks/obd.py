"""Position effect and COEC on real logs: the Open Bandit Dataset's samples (men's campaign).

    python benchmarks/obd.py [--data FOLDER] [--resamples 2000] [--json]

Two logs of one page with three places: `random` showed items at random, so its click rates are
what items are worth; `bts` (Thompson sampling) showed what it thought best. Questions:

1. How much does a place matter? Measured under the random policy, where items cannot explain it.
2. Does COEC of the biased log order items more like the random policy's click rates than the
   biased log's raw click rates do? Rank correlations, each with a bootstrap interval, and that
   of their difference (both logs drawn anew, with replacement).
3. Could these samples tell at all? The correlation of two halves of the random log with each
   other bounds what anything can reach; simulated logs of this size with a planted position
   effect say how often a real advantage would be seen.
4. What would either policy have earned, from the log of the other? Counterfactual estimates
   beside the click rate that the policy's own log has. The random policy shows each of the items
   with probability 1 / items; Thompson sampling's shares change with time, so its target is the
   shares with which it showed each item at each place. Simulated logs of this size, of items that
   earn what both logs together say and with the shares as propensities, tell how often the
   intervals hold the truth.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from scipy.stats import chi2_contingency, kendalltau, spearmanr

import pinjoin
from pinjoin.experiments.counterfactual import ESTIMATORS, Estimate, PolicyValue, ValueConfig
from pinjoin.experiments.policy_frames import policy_value
from pinjoin.ranking.coec import coec_interval
from pinjoin.ranking.expected import expected_rates
from pinjoin.ranking.frames import coec

DATA = Path(__file__).parents[1] / "../shared/data"
PLACES = (1, 2, 3)
CLIP = 10.0
Log = dict[str, np.ndarray]


def read(folder: Path, policy: str) -> Log:
    """item, position, click and propensity of each impression."""
    names = ["item_id", "position", "click", "propensity_score"]
    options = pa.csv.ConvertOptions(include_columns=names)
    table = pa.csv.read_csv(folder / "obd" / policy / "men" / "men.csv", convert_options=options)
    return {
        "item": table["item_id"].to_numpy(),
        "position": table["position"].to_numpy(),
        "click": table["click"].to_numpy(),
        "propensity": table["propensity_score"].to_numpy(),
    }


def drawn(log: Log, rng: np.random.Generator) -> Log:
    some = rng.integers(0, len(log["item"]), len(log["item"]))
    return {name: column[some] for name, column in log.items()}


def position_effect(log: Log) -> dict[str, Any]:
    """Clicks and impressions by place, rates relative to all, and whether they differ."""
    shown = np.array([(log["position"] == p).sum() for p in PLACES])
    clicks = np.array([log["click"][log["position"] == p].sum() for p in PLACES])
    low, high = coec_interval(clicks, shown, 0.95)
    return {
        "impressions": shown.tolist(),
        "clicks": clicks.tolist(),
        "rate": (clicks / shown).tolist(),
        "rate_95": [list(pair) for pair in zip(low, high, strict=True)],
        "p_no_effect": float(chi2_contingency(np.stack([clicks, shown - clicks])).pvalue),
    }


def click_rates(log: Log, n_items: int) -> np.ndarray:
    shown = np.bincount(log["item"], minlength=n_items)
    clicks = np.bincount(log["item"], log["click"], n_items)
    return np.divide(clicks, shown, out=np.full(n_items, np.nan), where=shown > 0)


def coecs(log: Log, n_items: int) -> np.ndarray:
    """COEC of each item, by the library; NaN for what was not shown."""
    clicked = log["click"] == 1
    item = np.concatenate([log["item"], log["item"][clicked]])
    events = pa.table(
        {
            "query": np.zeros(len(item), np.int64),
            "candidate": item,
            "position": np.concatenate([log["position"], log["position"][clicked]]),
            "action": ["impression"] * len(clicked) + ["click"] * int(clicked.sum()),
        }
    )
    found = coec(events, by=("position",))
    values = np.full(n_items, np.nan)
    values[found["candidate"].to_numpy()] = found["coec"].to_numpy()
    return values


def agreement(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """(Spearman, Kendall) over the items that both have."""
    both = ~(np.isnan(a) | np.isnan(b))
    if len(np.unique(a[both])) < 2 or len(np.unique(b[both])) < 2:
        return 0.0, 0.0
    return float(spearmanr(a[both], b[both])[0]), float(kendalltau(a[both], b[both])[0])


def compare(random: Log, biased: Log, n_items: int) -> np.ndarray:
    """[spearman coec, spearman ctr, difference, kendall coec, kendall ctr, difference]."""
    truth = click_rates(random, n_items)
    by_coec, by_rate = (agreement(f(biased, n_items), truth) for f in (coecs, click_rates))
    return np.array([x for c, r in zip(by_coec, by_rate, strict=True) for x in (c, r, c - r)])


def halves(log: Log, n_items: int, rng: np.random.Generator, times: int) -> np.ndarray:
    """Spearman of the click rates in two random halves of one log."""
    found = []
    for _ in range(times):
        first = rng.permutation(len(log["item"])) < len(log["item"]) // 2
        parts = ({n: c[m] for n, c in log.items()} for m in (first, ~first))
        found.append(agreement(*(click_rates(part, n_items) for part in parts))[0])
    return np.array(found)


def power(
    random: Log, biased: Log, n_items: int, rng: np.random.Generator, times: int, scale: int
) -> dict[str, float]:
    """In worlds with items of differing worth and the first place worth three of the third,
    logs of `scale` × this size: how often COEC agrees better than raw rates, and by how much."""
    effect = np.array([1.5, 1.0, 0.5])
    gains = []
    for _ in range(times):
        worth = 0.005 * rng.gamma(4.0, 1 / 4.0, n_items)
        logs = []
        for log in (random, biased):
            some = rng.integers(0, len(log["item"]), scale * len(log["item"]))
            item, position = log["item"][some], log["position"][some]
            if log is biased:  # the policy puts what it prefers first
                liked = np.argsort(np.argsort(rng.normal(size=n_items)))[item] / n_items
                position = 1 + rng.binomial(2, 0.15 + 0.7 * (1 - liked))
            click = rng.random(len(item)) < worth[item] * effect[position - 1]
            logs.append({"item": item, "position": position, "click": click.astype(np.int64)})
        gains.append(compare(logs[0], logs[1], n_items)[2])
    return {"rows": scale * len(random["item"]), "coec_better": float(np.mean(np.array(gains) > 0)),
            "mean_gain": float(np.mean(gains))}  # fmt: skip


def shares(log: Log, n_items: int) -> np.ndarray:
    """How often each item was shown at each place: (places, items), rows sum to 1."""
    shown = np.zeros((len(PLACES), n_items))
    np.add.at(shown, (log["position"] - 1, log["item"]), 1)
    return shown / shown.sum(axis=1, keepdims=True)


def worth_of(log: Log, target: np.ndarray, **options: Any) -> PolicyValue:
    """What a policy (places, items) would have earned, from a log."""
    events = {"candidate": log["item"], **{n: log[n] for n in ("position", "click", "propensity")}}
    place, item = np.indices(target.shape)
    policy = {"position": place.ravel() + 1, "candidate": item.ravel(),
              "probability": target.ravel()}  # fmt: skip
    return policy_value(
        pa.table(events), pa.table(policy), reward="click", config=ValueConfig(**options)
    )


def beside(value: PolicyValue, truth: Estimate) -> dict[str, Any]:
    """Estimates of a policy, and what its own log says."""
    estimates = {n: e for n, e in value.estimates.items() if n != "logged"}
    return {
        "own_log": [truth.value, truth.low, truth.high],
        "estimates": {n: [e.value, e.low, e.high] for n, e in estimates.items()},
        "effective_impressions": value.overlap.effective_size,
        "effective_clicks": value.overlap.effective_rewards,
        "mean_weight": [value.overlap.mean_weight, value.overlap.mean_error],
        "largest_weight": value.overlap.largest_weight,
        "cautions": list(value.cautions),
    }


def counterfactual(random: Log, biased: Log, n_items: int) -> dict[str, Any]:
    """Each policy's worth from the log of the other, beside its own log's click rate."""
    uniform = np.full((len(PLACES), n_items), 1 / n_items)
    found = {}
    for name, target, other, own in (
        ("random", uniform, biased, random),
        ("bts", shares(biased, n_items), random, biased),
    ):
        truth = worth_of(own, target).estimates["logged"]
        plain, clipped = (worth_of(other, target, clip=clip) for clip in (None, CLIP))
        found[name] = beside(plain, truth)
        if clipped.overlap.clipped > 0:
            found[f"{name}, weights up to {CLIP:g}"] = beside(clipped, truth)
    return found


def coverage(
    random: Log, biased: Log, n_items: int, rng: np.random.Generator, times: int
) -> dict[str, Any]:
    """In how many simulated logs of the biased policy the interval holds what the random one is
    worth; and the estimates' mean and spread."""
    both = {name: np.concatenate([random[name], biased[name]]) for name in random}
    cell = (both["position"] - 1) * n_items + both["item"]
    size = len(PLACES) * n_items
    levels = np.stack(np.divmod(np.arange(size), n_items), axis=1)
    clicks = np.bincount(cell, both["click"], size)
    worth = expected_rates(np.bincount(cell, minlength=size), clicks, levels, thin=np.inf).rates
    worth = worth.reshape(len(PLACES), n_items)
    shown, uniform = shares(biased, n_items), np.full((len(PLACES), n_items), 1 / n_items)
    values, hits = [], np.zeros(len(ESTIMATORS))
    for _ in range(times):
        place = rng.integers(0, len(PLACES), len(biased["item"]))
        drawn = rng.random((len(place), 1)) > shown.cumsum(axis=1)[place]
        item = drawn.sum(axis=1).clip(max=n_items - 1)
        click = (rng.random(len(place)) < worth[place, item]).astype(np.int64)
        log = {"item": item, "position": place + 1, "click": click,
               "propensity": shown[place, item]}  # fmt: skip
        found = worth_of(log, uniform, resamples=400, refits=100).estimates.values()
        values.append([e.value for e in found])
        hits += [e.low <= worth.mean() <= e.high for e in found]
    mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
    return {
        "logs": times,
        "truth": float(worth.mean()),
        "estimators": {
            name: {"mean": float(mean[i]), "spread": float(spread[i]), "held": hits[i] / times}
            for i, name in enumerate(ESTIMATORS)
        },
    }


def interval(values: np.ndarray) -> list[float]:
    return [float(v) for v in np.quantile(values, [0.025, 0.975])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("PINJOIN_DATA", DATA))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    random, biased = (read(options.data, policy) for policy in ("random", "bts"))
    n_items = int(max(random["item"].max(), biased["item"].max())) + 1
    point = compare(random, biased, n_items)
    resampled = np.array(
        [compare(drawn(random, rng), drawn(biased, rng), n_items) for _ in range(options.resamples)]
    )
    same = halves(random, n_items, rng, 200)
    names = ("spearman_coec", "spearman_ctr", "spearman_gain",
             "kendall_coec", "kendall_ctr", "kendall_gain")  # fmt: skip
    result = {
        "pinjoin": pinjoin.__version__,
        "items": n_items,
        "rows": {"random": len(random["item"]), "bts": len(biased["item"])},
        "clicks": {"random": int(random["click"].sum()), "bts": int(biased["click"].sum())},
        "position_effect": {"random": position_effect(random), "bts": position_effect(biased)},
        "agreement_with_random_policy": {
            name: {"value": float(point[i]), "bootstrap_95": interval(resampled[:, i])}
            for i, name in enumerate(names)
        },
        "coec_better_in_resamples": float(np.mean(resampled[:, 2] > 0)),
        "random_log_halves_spearman": {"mean": float(same.mean()), "spread_95": interval(same)},
        "counterfactual": counterfactual(random, biased, n_items),
        "simulated_coverage": coverage(random, biased, n_items, rng, 200),
        "simulated_power": [power(random, biased, n_items, rng, 100, s) for s in (1, 10, 100)],
    }
    if options.json:
        print(json.dumps(result, indent=2))
        return
    report(result)


def report(result: dict[str, Any]) -> None:
    for policy, effect in result["position_effect"].items():
        columns = (effect[name] for name in ("clicks", "impressions", "rate", "rate_95"))
        rates = ", ".join(
            f"{p}: {c}/{n} = {r:.2%} [{low:.2%}, {high:.2%}]"
            for p, c, n, r, (low, high) in zip(PLACES, *columns, strict=True)
        )
        print(f"{policy}: clicks by place {rates}; no effect: p = {effect['p_no_effect']:.2f}")
    print("agreement of the bts log's order of items with the random policy's click rates:")
    for name, found in result["agreement_with_random_policy"].items():
        low, high = found["bootstrap_95"]
        print(f"  {name:15s} {found['value']:+.3f} [{low:+.3f}, {high:+.3f}]")
    print(f"  COEC agrees better in {result['coec_better_in_resamples']:.0%} of the resamples")
    same = result["random_log_halves_spearman"]
    print(f"two halves of the random log agree at {same['mean']:+.3f} {same['spread_95']}")
    for found in result["simulated_power"]:
        print(
            f"simulated, {found['rows']:,} rows, place 1 worth three of place 3: COEC agrees "
            f"better in {found['coec_better']:.0%} of worlds, by {found['mean_gain']:+.3f}"
        )
    gain = result["agreement_with_random_policy"]["spearman_gain"]["bootstrap_95"]
    if gain[0] <= 0 <= gain[1]:
        print("verdict: the interval of the difference holds 0: these samples cannot tell.")
    report_counterfactual(result)


def report_counterfactual(result: dict[str, Any]) -> None:
    def percent(estimate: list[float]) -> str:
        return "{:.2%} [{:.2%}, {:.2%}]".format(*estimate)

    for name, found in result["counterfactual"].items():
        print(f"worth of {name}: {percent(found['own_log'])} in its own log; from the other's:")
        for estimator, estimate in found["estimates"].items():
            print(f"  {estimator:15s} {percent(estimate)}")
        mean, error = found["mean_weight"]
        print(
            f"  {found['effective_impressions']:,.0f} effective impressions, "
            f"{found['effective_clicks']:.1f} effective clicks; weights average {mean:.3f} ± "
            f"{error:.3f}, the largest is {found['largest_weight']:.0f}"
        )
        for caution in found["cautions"]:
            print(f"  caution: {caution}")
    simulated = result["simulated_coverage"]
    print(
        f"simulated: the random policy is worth {simulated['truth']:.3%}; {simulated['logs']} logs"
    )
    for estimator, found in simulated["estimators"].items():
        print(
            f"  {estimator:15s} {found['mean']:.3%} ± {found['spread']:.3%}; the 95 % interval "
            f"holds the truth in {found['held']:.0%}"
        )


if __name__ == "__main__":
    main()
