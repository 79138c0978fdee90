"""Random walks between images and boards: many at once, so that memory is never waited for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pinjoin.core._incidence_kernel import span
from pinjoin.core._simd_kernel import prefetch
from pinjoin.core._topk_kernel import descending_keys, top_k_order

_U = np.uint64
_GAMMA = _U(0x9E3779B97F4A7C15)
_LOW = _U(0xFFFFFFFF)
_HALF = _U(32)
_GOLDEN, _TURN = 0.6180339887498949, 0.7548776662466927
"""Multiples of either, modulo 1, fill [0, 1) evenly, however many are taken; together the square.
"""
_TRIES = 64  # to find a board that a bias accepts
_FIRST_LOOK = 8  # early stopping looks after an eighth of the walks, a quarter, half
WALKERS = 128
"""Walks under way together: enough that the next cache line has arrived when it is needed."""


@njit(cache=True, nogil=True)
def mixed(state: Any) -> Any:
    """The random uint64 of a counter: splitmix64's finaliser (Steele, Lea & Flood, 2014)."""
    x = (state ^ (state >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U(27))) * _U(0x94D049BB133111EB)
    return x ^ (x >> _U(31))


@njit(cache=True, nogil=True)
def unit(random: Any) -> Any:
    """A uint64 as a float64 in [0, 1)."""
    return float(random >> _U(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def even_step(n: Any) -> Any:
    """A number without common divisor with n, near n · golden ratio: (start + i · step) mod n
    visits each of n places once, and every run of visits is spread evenly."""
    step = _U(_GOLDEN * float(n)) + _U(1)
    while True:
        a, b = step, n
        while b > _U(0):
            a, b = b, a % b
        if a == _U(1):
            return step
        step += _U(1)


@njit(cache=True, nogil=True)
def _accepted_board(
    board: Any, first: Any, degree: Any, image_boards: Any, weights: Any, state: Any
) -> Any:
    """`board` with probability weights[board], else another one is tried: (board, state)."""
    for _ in range(_TRIES):
        state += _GAMMA
        random = mixed(state)
        if float(random & _LOW) * 2.0**-32 < weights[board]:
            break
        board = _U(image_boards[first + (((random >> _HALF) * degree) >> _HALF)])
    return board, state


@njit(cache=True, nogil=True)
def walk(
    query: Any,
    first: Any,
    last: Any,
    walks: Any,
    hops: Any,
    decay: Any,
    by_image: Any,
    by_board: Any,
    weights: Any,
    seed: Any,
    scratch: Any,
    visits: Any,
    n_visits: Any,
) -> Any:
    """Take the walks [first, last) of `walks`; they end after `hops` hops at the latest, and go on
    after each with probability `decay`.

    Appends the image each hop ends on to visits[n_visits:]; returns their number now. weights:
    (boards,) float32 in (0, 1], or none at all. The first hop is a systematic sample: [0, 1) is
    laid out in the query's boards, each in its images, and walks stand at even distances in it.
    Later hops go by random numbers.
    """
    at, chances, places, sizes, boards, randoms = scratch
    image_bounds, image_step, image_boards = by_image
    board_bounds, board_step, board_images = by_board
    biased = len(weights) > 0
    offset = unit(mixed(seed))
    shift = _U(unit(mixed(seed + _GAMMA)) * float(walks))
    turn = unit(mixed(seed + _GAMMA * _U(2)))
    step = even_step(walks)
    state = seed + _GAMMA * (_U(3) + first * _U(2 * _TRIES * hops))
    for begin in range(first, last, _U(WALKERS)):
        n = min(_U(WALKERS), last - begin)
        place = (shift + begin * step) % walks
        for j in range(n):
            at[j] = query
            chances[j] = (float(place) + offset) / float(walks)
            place += step
            place -= walks if place >= walks else _U(0)
        going = 1.0
        for hop in range(_U(hops)):
            if hop > _U(0):  # one number per walk decides how far it goes
                going *= decay
                kept = _U(0)
                for j in range(n):
                    at[kept] = at[j]
                    chances[kept] = chances[j]
                    kept += _U(chances[j] < going)
                n = kept
            for j in range(n):
                start, end = span(image_bounds, image_step, _U(at[j]))
                degree = end - start
                if hop == _U(0):
                    along = chances[j] * float(degree)
                    pick = min(_U(along), degree - _U(1))
                    randoms[j] = min(_U((along - float(pick)) * 2.0**32), _LOW) << _HALF
                else:
                    state += _GAMMA
                    randoms[j] = mixed(state)
                    pick = ((randoms[j] & _LOW) * degree) >> _HALF
                places[j] = start + pick
                sizes[j] = degree
                prefetch(image_boards, places[j])
            for j in range(n):
                board = _U(image_boards[places[j]])
                if biased:
                    start, _ = span(image_bounds, image_step, _U(at[j]))
                    board, state = _accepted_board(
                        board, start, sizes[j], image_boards, weights, state
                    )
                boards[j] = board
                prefetch(board_bounds, board * board_step)
            for j in range(n):
                start, end = span(board_bounds, board_step, _U(boards[j]))
                size = end - start
                places[j] = start + (((randoms[j] >> _HALF) * size) >> _HALF)
                prefetch(board_images, places[j])
            for j in range(n):
                row = board_images[places[j]]
                at[j] = row
                visits[n_visits + j] = row
                prefetch(image_bounds, _U(row) * image_step)
            n_visits += n
            if hop == _U(0):
                for j in range(n):
                    chance = turn + float(begin + j) * _TURN
                    chances[j] = chance - float(_U(chance))
    return n_visits


@njit(cache=True, nogil=True)
def _sort_pass(source: Any, n: Any, down: Any, target: Any, histogram: Any) -> None:
    histogram[:] = _U(0)
    for i in range(n):
        histogram[(_U(source[i]) >> down) & _U(2047)] += _U(1)
    total = _U(0)
    for digit in range(2048):
        here = histogram[digit]
        histogram[digit] = total
        total += here
    for i in range(n):
        digit = (_U(source[i]) >> down) & _U(2047)
        target[histogram[digit]] = source[i]
        histogram[digit] += _U(1)


@njit(cache=True, nogil=True)
def sort_rows(rows: Any, n: Any, n_rows: Any, spare: Any, histogram: Any) -> None:
    """Sort rows[:n], all < n_rows, ascending: a radix sort, 22 bits a turn; spare is as long."""
    down = _U(0)
    while down == _U(0) or (_U(n_rows) >> down) > _U(0):
        _sort_pass(rows, n, down, spare, histogram)
        _sort_pass(spare, n, down + _U(11), rows, histogram)
        down += _U(22)


@njit(cache=True, nogil=True)
def _often(visits: Any, n: Any, enough: Any) -> Any:
    """How many images have at least `enough` of the sorted visits[:n]."""
    often = run = _U(0)
    last = np.uint32(0xFFFFFFFF)
    for i in range(n):
        run = run * _U(visits[i] == last) + _U(1)
        last = visits[i]
        often += _U(run == _U(enough))
    return often


@njit(cache=True, nogil=True)
def count_visits(visits: Any, n: Any, rows: Any, ends: Any) -> Any:
    """Distinct rows of the sorted visits[:n] and where each one's visits end; their number.

    Overwrites visits[n]. Branch-free: most runs are short, and none can be foreseen.
    """
    visits[n] = np.uint32(0xFFFFFFFF)
    found = _U(0)
    for i in range(n):
        row = visits[i]
        rows[found] = row
        ends[found] = np.uint32(i + _U(1))
        found += _U(visits[i + _U(1)] != row)
    return found


@njit(cache=True, nogil=True)
def rank_counts(
    rows: Any,
    ends: Any,
    n: Any,
    query: Any,
    k: Any,
    unit_score: Any,
    tally: Any,
    out_rows: Any,
    out_scores: Any,
) -> Any:
    """The k most visited rows but the query, ties by row: a counting sort. Returns how many.

    tally: uint32, longer than any count, all zero on entry and exit.
    """
    before = highest = _U(0)
    for i in range(n):
        count = _U(ends[i]) - before
        before = _U(ends[i])
        tally[count] += np.uint32(rows[i] != query)
        highest = max(highest, count)
    place = np.uint32(0)
    for down in range(highest):
        count = highest - down
        here = tally[count]
        tally[count] = place
        place += here
    before = _U(0)
    for i in range(n):
        count = _U(ends[i]) - before
        before = _U(ends[i])
        if rows[i] != query:
            at = tally[count]
            tally[count] += np.uint32(1)
            if at < k:
                out_rows[at] = rows[i]
                out_scores[at] = np.float32(float(count) * unit_score)
    tally[: highest + _U(1)] = np.uint32(0)
    return min(_U(place), k)


@njit(cache=True, nogil=True)
def sampled_walk(
    query: Any,
    k: Any,
    hops: Any,
    decay: Any,
    walks: Any,
    enough_images: Any,
    enough_visits: Any,
    seed: Any,
    graph: Any,
    weights: Any,
    scratch: Any,
    out_rows: Any,
    out_scores: Any,
) -> Any:
    """The k images that walks visit most, and visits per walk: (how many, hops taken)."""
    by_image, by_board = graph
    walkers, visits, spare, rows, ends, tally, histogram = scratch
    walks = _U(walks)
    stop = (walks + _U(_FIRST_LOOK - 1)) // _U(_FIRST_LOOK) if enough_images > 0 else walks
    n_visits = taken = _U(0)
    while taken < walks:
        n_visits = walk(
            query, taken, stop, walks, hops, decay, by_image, by_board, weights,
            mixed(_U(query) * _GAMMA + seed), walkers, visits, n_visits,
        )  # fmt: skip
        taken = stop
        sort_rows(visits, n_visits, _U(len(by_image[0])) // by_image[1], spare, histogram)
        if taken < walks and _often(visits, n_visits, enough_visits) >= _U(enough_images):
            break
        stop = min(stop * _U(2), walks)
    n = count_visits(visits, n_visits, rows, ends)
    unit_score = 1.0 / float(taken)
    n = rank_counts(rows, ends, n, query, _U(k), unit_score, tally, out_rows, out_scores)
    return n, n_visits


@njit(cache=True, nogil=True)
def _weight_of_boards(first: Any, last: Any, image_boards: Any, weights: Any) -> Any:
    """The sum of the weights of an image's boards; their number, if unweighted."""
    if len(weights) == 0:
        return float(last - first)
    total = 0.0
    for p in range(first, last):
        total += weights[image_boards[p]]
    return total


@njit(cache=True, nogil=True)
def _to_boards(
    rows: Any,
    masses: Any,
    n_rows: Any,
    by_image: Any,
    weights: Any,
    board_mass: Any,
    boards: Any,
) -> Any:
    """Half a hop: add the images' mass to their boards'; returns how many boards have some."""
    bounds, step, image_boards = by_image
    n_boards = _U(0)
    for i in range(n_rows):
        first, last = span(bounds, step, _U(rows[i]))
        share = masses[i] / _weight_of_boards(first, last, image_boards, weights)
        for p in range(first, last):
            board = _U(image_boards[p])
            boards[n_boards] = board
            n_boards += _U(board_mass[board] == 0.0)
            board_mass[board] += share * (weights[board] if len(weights) > 0 else 1.0)
    return n_boards


@njit(cache=True, nogil=True)
def _to_images(
    boards: Any,
    n_boards: Any,
    by_board: Any,
    board_mass: Any,
    image_mass: Any,
    rows: Any,
) -> Any:
    """The other half, which clears board_mass: returns how many images have mass, their rows in
    order of first touch."""
    bounds, step, board_images = by_board
    n_rows = _U(0)
    for i in range(n_boards):
        board = _U(boards[i])
        first, last = span(bounds, step, board)
        share = board_mass[board] / float(last - first)
        board_mass[board] = 0.0
        for p in range(first, last):
            row = _U(board_images[p])
            rows[n_rows] = row
            n_rows += _U(image_mass[row] == 0.0)
            image_mass[row] += share
    return n_rows


@njit(cache=True, nogil=True)
def _saves_of(rows: Any, n: Any, lists: Any) -> Any:
    bounds, step, _ = lists
    saves = _U(0)
    for i in range(n):
        first, last = span(bounds, step, _U(rows[i]))
        saves += last - first
    return saves


@njit(cache=True, nogil=True)
def _propagate(
    query: Any, hops: Any, decay: Any, room: Any, graph: Any, weights: Any, scratch: Any
) -> Any:
    """All hops exactly, if they read at most `room` saves: (whether they do, images reached)."""
    by_image, by_board = graph
    board_mass, image_mass, total, boards, rows, masses, reached = scratch
    rows[0] = query
    masses[0] = 1.0
    n_rows = _U(1)
    n_reached = read = _U(0)
    factor = 1.0
    for _ in range(hops):
        read += _saves_of(rows, n_rows, by_image)
        if read > _U(room):
            return False, n_reached
        n_boards = _to_boards(rows, masses, n_rows, by_image, weights, board_mass, boards)
        read += _saves_of(boards, n_boards, by_board)
        if read > _U(room):
            for i in range(n_boards):
                board_mass[boards[i]] = 0.0
            return False, n_reached
        n_rows = _to_images(boards, n_boards, by_board, board_mass, image_mass, rows)
        for i in range(n_rows):
            row = rows[i]
            masses[i] = image_mass[row]
            image_mass[row] = 0.0
            reached[n_reached] = row
            n_reached += _U(total[row] == 0.0)
            total[row] += factor * masses[i]
        factor *= decay
    return True, n_reached


@njit(cache=True, nogil=True)
def propagated_walk(
    query: Any,
    k: Any,
    hops: Any,
    decay: Any,
    room: Any,
    graph: Any,
    weights: Any,
    scratch: Any,
    ranking: Any,
    out_rows: Any,
    out_scores: Any,
) -> Any:
    """The k images of highest exact score: how many, or −1 if that would read more than `room`
    saves. board_mass, image_mass and total are all zero on entry and exit."""
    scores, keys, order, spare, histogram = ranking
    total, reached = scratch[2], scratch[6]
    fits, n = _propagate(query, hops, decay, room, graph, weights, scratch)
    if not fits:
        for i in range(n):
            total[reached[i]] = 0.0
        return -1
    sort_rows(reached, n, _U(len(graph[0][0])) // graph[0][1], spare, histogram)
    found = _U(0)
    for i in range(n):
        row = reached[i]
        reached[found] = row
        scores[found] = np.float32(total[row])
        total[row] = 0.0
        found += _U(row != query)
    descending_keys(scores, found, keys)
    n = top_k_order(_U(k), found, keys, order, spare, histogram) if found > _U(0) else found
    for i in range(n):
        out_rows[i] = reached[order[i]]
        out_scores[i] = scores[order[i]]
    return np.int64(n)
