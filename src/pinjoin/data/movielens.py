"""MovieLens as a catalogue: `ratings`, `movies`, `tags`; .csv (latest, 20M–32M) or .dat (1M, 10M).

What one person rated 4 or more of one genre is a board `u1-action`, titled "Action I love", of
category "Action"; a film of three genres is on three of them. What one person gave one tag is a
board `u1-tag-funny`, titled as the tag. A pin is `board_id/movieId`, its image
`images/<movieId>.jpg`, its title the film's, its description the genres, its link the film's
page. A film that nobody liked or tagged is a pin (`movieId`) on no board.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinjoin.core.errors import InputError
from pinjoin.core.ids import StringTable
from pinjoin.core.progress import Progress
from pinjoin.data.blocks import Block
from pinjoin.data.derived import (
    BATCH_ROWS,
    DerivedSource,
    Rows,
    canonical,
    clean_rows,
    find_files,
    open_columns,
)
from pinjoin.data.double_colons import open_double_colons
from pinjoin.data.intake import NO_TIME
from pinjoin.data.presets import Catalogue
from pinjoin.data.rejects import Dropped, Rejects
from pinjoin.data.schema import BOARDS, PINS, TIMESTAMP
from pinjoin.data.tables import Table, read_blocks
from pinjoin.data.values import numbers, times

LIKED = 4.0
"""The least rating, of 5, that says "I love this"."""

_COMPRESSED = r"(\.gz|\.zst|\.bz2)?"
_FILES = {
    f"{name}.csv (or .dat)": rf"{name}\.(csv|dat){_COMPRESSED}"
    for name in ("ratings", "movies", "tags")
}
_RATINGS, _MOVIES, _TAGS = _FILES
_RATING_COLUMNS = ("userId", "movieId", "rating")  # and timestamp, where there is one
_MOVIE_COLUMNS = ("movieId", "title", "genres")
_TAG_COLUMNS = ("userId", "movieId", "tag")
_NO_GENRES = "(no genres listed)"

_MOVIE = pa.schema(
    [
        pa.field("movieId", pa.string(), nullable=False),
        ("title", pa.string()),
        ("genres", pa.string()),
    ]
)
_TAG = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TAG_COLUMNS),
        ("timestamp", TIMESTAMP),
    ]
)

_ID_LIMIT = 10**15  # so that a person and a genre fit into one int64

_NO_NUMBER = "{} is not a whole number"
_NO_RATING = "rating is not a number"
_UNKNOWN_MOVIE = "the table of movies has no such movieId"
_REMEDY = "Fetch the dataset again, or leave the row out."


def open_catalogue(directory: Path) -> Catalogue:
    """See `open_preset`. Movies and tags are held in memory, ratings stream."""
    found = find_files(directory, "movielens", _FILES, optional=[_TAGS])
    ratings = _open(found[_RATINGS][0], _RATING_COLUMNS)
    films = _open(found[_MOVIES][0], _MOVIE_COLUMNS)
    tags = _open(found[_TAGS][0], _TAG_COLUMNS) if found[_TAGS] else None
    inputs = [table.fingerprint for table in (ratings, films, tags) if table]

    def pins(rejects: Rejects, progress: Progress) -> Iterator[pa.RecordBatch]:
        movies = _Movies(films, rejects)
        yield from _liked_pins(ratings, movies, rejects, progress)
        if tags:
            yield from _tag_pins(tags, movies, rejects, progress)
        yield from movies.unplaced()

    def boards(rejects: Rejects, progress: Progress) -> Iterator[pa.RecordBatch]:
        unheard = Rejects(None)  # the pins' pass over the same files reports their bad rows
        movies = _Movies(films, unheard)
        yield from _liked_boards(ratings, movies, unheard, progress)
        if tags:
            yield from _tag_boards(tags, movies, unheard, progress)

    return Catalogue(
        DerivedSource(ratings.name, PINS, pins, inputs),
        DerivedSource(ratings.name, BOARDS, boards, inputs),
    )


def _open(file: str, columns: Sequence[str]) -> Table:
    """A .csv by its header, or a .dat, which has none."""
    if not re.search(rf"\.dat{_COMPRESSED}$", file, re.I):
        return open_columns([file], columns, "movielens")
    return open_double_colons(file, [*columns, "timestamp"] if "userId" in columns else columns)


# --- movies ------------------------------------------------------------------------------------


class _Movies:
    """All films by id, with their genres as numbers."""

    def __init__(self, films: Table, rejects: Rejects) -> None:
        clean = clean_rows(films, _MOVIE, rejects, "movies")
        kept = [_with_numbers(one.batch, one.file, one.rows, rejects) for one in clean]
        ids = np.concatenate([ids for ids, _ in kept])
        table = pa.Table.from_batches([batch for _, batch in kept]).combine_chunks()
        self.ids, first = np.unique(ids, return_index=True)  # the first row of an id counts
        if not len(self.ids):
            raise InputError(f"{films.name}: none of its rows can be used. Fetch it again.")
        self.id_texts = pa.array(self.ids).cast(pa.string())
        self._title = _column(table, "title").take(pa.array(first))
        self.placed = np.zeros(len(self.ids), bool)
        self._read_genres(_column(table, "genres").take(pa.array(first)))
        self._image = pc.binary_join_element_wise("images/", self.id_texts, ".jpg", "")
        page = "https://movielens.org/movies/"
        self._link = pc.binary_join_element_wise(page, self.id_texts, "")

    def _read_genres(self, listed: pa.StringArray) -> None:
        listed = pc.if_else(pc.equal(listed, _NO_GENRES), "", pc.fill_null(listed, ""))
        lists = pc.split_pattern(listed, "|")
        genres = pc.utf8_trim_whitespace(lists.values)
        named = pc.not_equal(genres, "").to_numpy(zero_copy_only=False)
        movie = pc.list_parent_indices(lists).to_numpy()[named]
        encoded = genres.filter(pa.array(named)).dictionary_encode()
        self.genre = encoded.indices.to_numpy()  # of the films, one after the other
        self.genre_starts = np.searchsorted(movie, np.arange(len(self.ids) + 1))
        self.genre_names = encoded.dictionary
        self.genre_slugs = _slugs(pc.replace_substring_regex(self.genre_names, "['’]", ""))
        described = pc.replace_substring(listed, "|", ", ")
        self._description = pc.if_else(pc.equal(described, ""), None, described)

    def find(self, ids: np.ndarray) -> np.ndarray:
        """The row of each movieId, −1 if unknown: int64[n]."""
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[rows] == ids, rows, -1)

    def by_genre(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each of `rows` once per genre: (its place in `rows`, the genre), both int64[m]."""
        starts = self.genre_starts[rows]
        counts = self.genre_starts[rows + 1] - starts
        place = np.repeat(np.arange(len(rows)), counts)
        nth = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return place, self.genre[starts[place] + nth]

    def columns(self, rows: np.ndarray) -> dict[str, pa.Array]:
        """Canonical columns of the films at `rows`."""
        index = pa.array(rows)
        return {
            "image": self._image.take(index),
            "title": self._title.take(index),
            "description": self._description.take(index),
            "link": self._link.take(index),
        }

    def unplaced(self) -> Iterator[pa.RecordBatch]:
        """The films on no board."""
        left = np.flatnonzero(~self.placed)
        if len(left):
            ids = self.id_texts.take(pa.array(left))
            yield canonical(PINS, self.columns(left) | {"pin_id": ids})


def _with_numbers(
    batch: pa.RecordBatch, file: str, rows: Rows, rejects: Rejects
) -> tuple[np.ndarray, pa.RecordBatch]:
    """The movieId of each row as a number; rows without one are left out."""
    ids, bad = _whole_numbers(batch["movieId"])
    _refuse(bad, "movieId", batch["movieId"], _NO_NUMBER.format("movieId"), file, rows, rejects)
    return ids[~bad], batch.filter(pa.array(~bad))


# --- ratings -----------------------------------------------------------------------------------


def _liked_pins(
    table: Table, movies: _Movies, rejects: Rejects, progress: Progress
) -> Iterator[pa.RecordBatch]:
    for file, block in _rating_blocks(table, [*_RATING_COLUMNS, "timestamp"], progress):
        user, row, index = _liked(block, movies, file, rejects)
        place, genre = movies.by_genre(row)
        movies.placed[row[place]] = True
        seconds = _times(block, index, file, rejects)
        for first in range(0, len(place), BATCH_ROWS):
            chosen, genres = place[first : first + BATCH_ROWS], genre[first : first + BATCH_ROWS]
            users = pa.array(user[chosen]).cast(pa.string())
            slugs = movies.genre_slugs.take(pa.array(genres))
            yield _pins(movies, row[chosen], users, slugs, seconds.take(pa.array(chosen)))


def _liked_boards(
    table: Table, movies: _Movies, rejects: Rejects, progress: Progress
) -> Iterator[pa.RecordBatch]:
    n_genres = max(1, len(movies.genre_names))
    found = [np.empty(0, np.int64)]
    for file, block in _rating_blocks(table, _RATING_COLUMNS, progress):
        user, row, _ = _liked(block, movies, file, rejects)
        place, genre = movies.by_genre(row)
        found.append(np.unique(user[place] * n_genres + genre))
    boards = np.unique(np.concatenate(found))  # (person, genre), each once, in order
    for first in range(0, len(boards), BATCH_ROWS):
        user, genre = np.divmod(boards[first : first + BATCH_ROWS], n_genres)
        users, genres = pa.array(user).cast(pa.string()), pa.array(genre)
        names = movies.genre_names.take(genres)
        columns = {
            "board_id": _board_ids(users, movies.genre_slugs.take(genres)),
            "title": pc.binary_join_element_wise(names, "I love", " "),
            "category": names,
            "user_id": users,
        }
        yield canonical(BOARDS, columns)


def _rating_blocks(
    table: Table, wanted: Sequence[str], progress: Progress
) -> Iterator[tuple[str, Block]]:
    with progress("reading ratings", table.length) as advance:
        for part in table.parts:
            columns = [column for column in wanted if column in part.columns]
            for block in read_blocks(part, columns):
                yield part.name, block
                advance(block.length + len(block.faults))


def _liked(
    block: Block, movies: _Movies, file: str, rejects: Rejects
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(person, film's row, row in the block) of the ratings that say so; int64[n] each."""
    block.report(file, rejects)
    if not block.length:
        return (np.empty(0, np.int64),) * 3
    refuse = partial(_refuse, file=file, rows=block.rows, rejects=rejects)
    rating, bad = _ratings(block.columns["rating"])
    refuse(bad, "rating", block.columns["rating"], _NO_RATING)
    for column in ("userId", "movieId"):
        values, wrong = _whole_numbers(block.columns[column])
        refuse(wrong & ~bad, column, block.columns[column], _NO_NUMBER.format(column))
        bad |= wrong
        if column == "userId":
            user = values
    row = movies.find(values)
    refuse((row < 0) & ~bad, "movieId", block.columns["movieId"], _UNKNOWN_MOVIE)
    index = np.flatnonzero((rating >= LIKED) & ~bad & (row >= 0))
    return user[index], row[index], index


def _ratings(given: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """float64[n], and which are none: bool[n]."""
    try:
        values = given.cast(pa.float64())
        bad = np.zeros(len(given), bool)
    except pa.ArrowInvalid:  # some are no numbers: the slower way finds out which
        values, bad = numbers(_valid_text(given))
    values = values.to_numpy(zero_copy_only=False)
    return values, bad | ~np.isfinite(values)


def _whole_numbers(given: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """int64[n], and which are none (0 there): bool[n]."""
    try:
        values = given.cast(pa.int64()).to_numpy()
        bad = np.zeros(len(given), bool)
    except pa.ArrowInvalid:
        text = pc.ascii_trim_whitespace(_valid_text(given))
        whole = pc.match_substring_regex(text, r"^\d{1,18}$")
        values = pc.if_else(whole, text, "0").cast(pa.int64()).to_numpy()
        bad = ~whole.to_numpy(zero_copy_only=False)
    bad |= (values < 0) | (values >= _ID_LIMIT)
    return np.where(bad, 0, values), bad


def _times(block: Block, index: np.ndarray, file: str, rejects: Rejects) -> pa.Array:
    """When these rows were rated; null where the file does not tell."""
    if "timestamp" not in block.columns or not len(index):
        return pa.nulls(len(index), TIMESTAMP)
    given = block.columns["timestamp"].take(pa.array(index))
    try:
        seconds, bad = times(given.cast(pa.int64()))
    except pa.ArrowInvalid:
        seconds, bad = times(_valid_text(given))
    _refuse(
        bad,
        "timestamp",
        given,
        NO_TIME,
        file,
        lambda some: block.rows(index[some]),
        rejects,
        "value",
    )
    return seconds


def _valid_text(given: pa.Array) -> pa.Array:
    """Text as it is, with bytes that are not UTF-8 replaced: they are no digits either way."""
    if not pa.types.is_string(given.type):
        return given.cast(pa.string())
    texts = given.cast(pa.binary()).to_pylist()
    return pa.array([t if t is None else t.decode(errors="replace") for t in texts], pa.string())


def _refuse(
    bad: np.ndarray,
    column: str,
    given: pa.Array,
    reason: str,
    file: str,
    rows: Rows,
    rejects: Rejects,
    dropped: Dropped = "row",
) -> None:
    if bad.any():
        index = np.flatnonzero(bad)
        shown = given.cast(pa.binary()) if pa.types.is_string(given.type) else given
        rejects.add_many(
            file=file,
            rows=rows(index).tolist(),
            column=column,
            values=(shown[int(i)].as_py() for i in index),
            reason=reason,
            remedy=_REMEDY,
            dropped=dropped,
        )


# --- tags --------------------------------------------------------------------------------------


def _tag_pins(
    table: Table, movies: _Movies, rejects: Rejects, progress: Progress
) -> Iterator[pa.RecordBatch]:
    seen = StringTable()
    for users, row, tags, seconds in _tags(table, movies, rejects, progress):
        movies.placed[row] = True
        made = _pins(movies, row, users, _tag_slugs(tags), seconds)
        # "Funny" and "funny" of one person for one film are one saving, not a bad row.
        yield made.take(_first_times(seen, made["pin_id"]))


def _tag_boards(
    table: Table, movies: _Movies, rejects: Rejects, progress: Progress
) -> Iterator[pa.RecordBatch]:
    seen = StringTable()
    for users, _, tags, _ in _tags(table, movies, rejects, progress):
        ids = _board_ids(users, _tag_slugs(tags))
        made = canonical(BOARDS, {"board_id": ids, "title": tags, "user_id": users})
        yield made.take(_first_times(seen, ids))


def _tags(
    table: Table, movies: _Movies, rejects: Rejects, progress: Progress
) -> Iterator[tuple[pa.StringArray, np.ndarray, pa.StringArray, pa.Array]]:
    """(person, film's row, tag, time) of the good rows."""
    for clean in clean_rows(table, _TAG, rejects, "tags", progress):
        batch = clean.batch
        bad = np.zeros(batch.num_rows, bool)
        refuse = partial(_refuse, file=clean.file, rows=clean.rows, rejects=rejects)
        for column in ("userId", "movieId"):
            values, wrong = _whole_numbers(batch[column])
            refuse(wrong & ~bad, column, batch[column], _NO_NUMBER.format(column))
            bad |= wrong
            if column == "userId":
                user = values
        row = movies.find(values)
        refuse((row < 0) & ~bad, "movieId", batch["movieId"], _UNKNOWN_MOVIE)
        good = ~bad & (row >= 0)
        kept = batch.filter(pa.array(good))
        users = pa.array(user[good]).cast(pa.string())
        yield users, row[good], kept["tag"], kept["timestamp"]


def _tag_slugs(tags: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise("tag", _slugs(tags), "-")


def _slugs(names: pa.StringArray) -> pa.StringArray:
    """Lower case, letters and digits of any script joined by `-`; a name without any, itself."""
    lower = pc.utf8_lower(pc.utf8_normalize(names, form="NFC"))
    slugs = pc.ascii_trim(pc.replace_substring_regex(lower, r"[^\pL\pM\pN]+", "-"), "-")
    return pc.if_else(pc.equal(slugs, ""), lower, slugs)


def _first_times(seen: StringTable, strings: pa.StringArray) -> pa.Array:
    """The rows whose string was not seen before, in order; they are seen now."""
    before = len(seen)
    distinct, first = np.unique(seen.encode(strings), return_index=True)
    return pa.array(np.sort(first[distinct >= before]))


# --- both --------------------------------------------------------------------------------------


def _board_ids(users: pa.StringArray, slugs: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise(pc.binary_join_element_wise("u", users, ""), slugs, "-")


def _pins(
    movies: _Movies,
    rows: np.ndarray,
    users: pa.StringArray,
    slugs: pa.StringArray,
    seconds: pa.Array,
) -> pa.RecordBatch:
    boards = _board_ids(users, slugs)
    movie_ids = movies.id_texts.take(pa.array(rows))
    columns = movies.columns(rows) | {
        "pin_id": pc.binary_join_element_wise(boards, movie_ids, "/"),
        "board_id": boards,
        "user_id": users,
        "created_at": seconds,
    }
    return canonical(PINS, columns)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
