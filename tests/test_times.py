"""Times as text: the quick way of a column of one form gives what the patterns give."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.data import values

FORMS = [
    "2015-03-01T12:00:00Z", "2015-03-01 12:00:00z", "2015-03-01", "2015-03-01T12",
    "2015-03-01T1200", "2015-03-01T12:00+0530", "2015-03-01T12:00:00.5",
    "2015-03-01T12:00:00.123456+00:00", "2015-03-01T12:00:00,5Z", "0000-01-01",
    "9999-12-31T23:59:59Z", "2015-03-01T24:00:00Z", "2015-03-01T12:00:60Z",
    "2015-03-01T12:00:00 Z", "2015-03-01T12:00:00UTC", "1969-12-31T23:59:59.5", "2015-13-01",
    "1425211200", "1425211200.5", "1425211200000", "-1425211200", "99999999999999999999", "nan", "",
    "1677-09-21T00:12:43Z", "2262-04-11T23:47:17.123456789Z", "9999-12-31T23:59:59.999999Z",
]  # fmt: skip


def both(texts: list[str | None]) -> tuple[pa.Array | None, pa.Array, np.ndarray]:
    array = pa.array(texts, pa.string())
    return values._times_of_one_form(array), *values._times_of_any_form(array)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_as_the_patterns_read_it(form: str) -> None:
    quick, wanted, bad = both([form] * 3)
    if quick is not None:
        assert quick == wanted
        assert not bad.any()


def edited(form: str, at: int, character: str) -> str:
    return form[: at % len(form)] + character + form[at % len(form) + 1 :] if form else form


@given(
    st.sampled_from(FORMS),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from("0123456789 :-+.,TZ")), max_size=3),
)
def test_a_row_of_another_form_is_not_taken_for_one(
    form: str, edits: list[tuple[int, str]]
) -> None:
    texts: list[str | None] = [form, *(edited(form, *edit) for edit in edits)]
    quick, wanted, bad = both(texts)
    if quick is not None:
        assert quick == wanted
        assert not bad.any()


def test_common_forms_are_read_the_quick_way() -> None:
    for form in ("2015-03-01T12:00:00Z", "2015-03-01 12:00:00.123456+00:00", "1425211200"):
        assert both([form] * 2)[0] is not None
    assert both(["1425211200", None])[0] is None
    assert both(["1425211200", "142521120"])[0] is None
    assert both([])[0] is None
