"""What may be stored: fields cleaned as a build cleans them, or refused with the reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pinjoin.core.errors import InputError
from pinjoin.data.blocks import Block
from pinjoin.data.intake import Intake
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import BOARDS, PINS
from pinjoin.live import clean
from pinjoin.live.changes import CATALOGUE, Board, Change, Deletion, Event, Save, columns
from pinjoin.live.reading import DELETIONS, LIVE_EVENTS
from pinjoin.live.submissions import KEY_LIMIT, MOST_CHANGES, Submission, derived_id

KINDS = (*CATALOGUE, Event)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "12.0",
        "-3.0",
        "1.50",
        "nan",
        "NULL",
        " a ",
        "\u2003b\u2003",
        "e\u0301",
        "a\tb",
        "\x1ca",
        "\x85",
    ]
)


def event(**fields: Any) -> Event:
    return Event(**{**dict.fromkeys(("request_id", "query", "candidate"), "x"), **fields})


def in_a_table(value: str, rule: str) -> str | None:
    """What a build makes of a value; None if it rejects the row."""
    raw = pa.array([value])
    work = Intake(Block({"c": raw}, 1, lambda rows: rows + 1), "file", Rejects(None))
    array = work.ids("c", raw, required=True) if rule == "id" else work.reference("c", raw)
    return None if work.any_lost else array[0].as_py()


def cleaned(value: str, rule: str) -> str | None:
    """What the store makes of it; None if it refuses."""
    try:
        return (clean.required_id if rule == "id" else clean.reference)(value, "c")
    except ValueError:
        return None


@pytest.mark.parametrize("rule", ["id", "reference"])
def test_ids_and_references_are_cleaned_as_those_of_tables(rule: str) -> None:
    @given(texts)
    @example("\x1c12.0\x1c")
    @example("\u200bx")
    @example("x\x00")
    def check(value: str) -> None:
        assert cleaned(value, rule) == in_a_table(value, rule)

    check()


@given(texts)
def test_cleaning_again_changes_nothing(value: str) -> None:
    once = cleaned(value, "id")
    assert once is None or cleaned(once, "id") == once


def test_text_is_kept_as_it_is() -> None:
    save = Save("p", "b", "i.jpg", title=" Lamp\n", description="", link="x")
    assert (save.title, save.description, save.link) == (" Lamp\n", None, "x")


@pytest.mark.parametrize("kind", KINDS)
def test_rules_name_every_field_in_order(kind: type[Change]) -> None:
    assert columns(kind) == tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [(Save, PINS), (Board, BOARDS), (Deletion, DELETIONS), (Event, LIVE_EVENTS)],
)
def test_every_column_of_a_build_can_be_stored(kind: type[Change], schema: pa.Schema) -> None:
    assert set(schema.names) <= set(columns(kind))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Save("", "b", "i"), r"save: pin_id is missing. Got ''."),
        (lambda: Save("p", "b", None), r"save: image is missing"),  # type: ignore[arg-type]
        (lambda: Save(7, "b", "i"), r"pin_id must be text. Got 7"),  # type: ignore[arg-type]
        (lambda: Save("a\nb", "b", "i"), r"pin_id must have no control characters"),
        (lambda: Save("\ud800", "b", "i"), r"pin_id must be Unicode without lone surrogates"),
        (lambda: Save("é" * 1001, "b", "i"), r"pin_id must have at most 2,000 bytes"),
        (lambda: Save("p", "b", "i", title="\0"), r"title must have no NUL"),
        (lambda: Save("p", "b", "i", title="x" * (2**20 + 1)), r"at most 1 MiB. Got 'xxx.*…\.$"),
        (lambda: Save("p", "b", "i", title=1), r"title must be text"),  # type: ignore[arg-type]
        (lambda: Save("p", "b", "i", created_at=True), r"created_at must be whole unix seconds"),
        (lambda: Board("b", created_at=10**12), r"between the years 1 and 9999"),
        (lambda: Deletion("user", "x"), r"kind must be one of pin, board, image. Got 'user'"),
        (lambda: Deletion("pin", " nan "), r"deletion: id is missing. Got ' nan '."),
        (lambda: Deletion("board", "x" * 2001), r"deletion: id must have at most 2,000 bytes"),
        (lambda: event(action="look"), r"event: action must be one of impression, click"),
        (lambda: event(action="impression"), r"position is missing. Say where"),
        (lambda: event(action="click", position="-1"), r"position must be a whole number"),
        (lambda: event(action="click", position=3), r'"row,column", as text'),
        (lambda: event(action="click", propensity=0.0), r"propensity must be a number above 0"),
        (lambda: event(action="click", propensity=float("nan")), r"propensity must be"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_the_reason(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_positions_have_one_form() -> None:
    assert [
        event(action="click", position=p).position for p in ("3", "007", "02,05", "0", None)
    ] == [
        "3",
        "7",
        "2,5",
        "0",
        None,
    ]


def test_a_signature_is_not_cleaned_as_an_id() -> None:
    assert (Deletion("image", "12.0").id, Deletion("pin", "12.0").id) == ("12.0", "12")


@pytest.mark.parametrize("key", ["", "x" * (KEY_LIMIT + 1), "a\nb", "\ud800", 5])
def test_keys_are_short_and_printable(key: Any) -> None:
    with pytest.raises(InputError, match="The key of a submission must be 1 to 200 printable"):
        Submission(key, (Board("b"),))


@pytest.mark.parametrize("n", [0, MOST_CHANGES + 1])
def test_a_submission_has_some_changes_and_not_too_many(n: int) -> None:
    with pytest.raises(InputError, match="must have 1 to 10,000 changes"):
        Submission("k", (event(action="click"),) * n)


def test_a_submission_makes_nothing_twice() -> None:
    Submission("k", (Board("x"), Save("x", "x", "i")))  # a board and a pin may share an id
    with pytest.raises(InputError, match="The submission 'k' makes the pin 'x' twice"):
        Submission("k", (Save("x", "b", "i"), Board("b"), Save("x", "b", "j")))


def test_digests_differ_by_each_field_and_by_the_order() -> None:
    base = (Save("p", "b", "i"), Save("q", "b", "i"))
    others = [
        base[::-1],
        base[:1],
        (*base, Deletion("pin", "p")),
        *(
            (
                dataclasses.replace(base[0], **{name: 5 if name == "created_at" else "other"}),
                base[1],
            )
            for name in columns(Save)
        ),
    ]
    digests = {Submission("k", changes).digest() for changes in (base, *others)}
    assert len(digests) == 1 + len(others)
    assert Submission("another", base).digest() in digests


def test_derived_ids_are_the_same_in_every_repetition() -> None:
    ids = {derived_id(key, place) for key in ("a", "b") for place in (0, 1) for _ in range(2)}
    assert len(ids) == 2 * 2
