"""Filters: what they say is what a plain reading of SQL says, and nothing else can be said."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pinjoin
from pinjoin.core.errors import ConfigError
from pinjoin.core.types import NO_ROW
from pinjoin.data.schema import TYPES, Type
from pinjoin.filters import Filter, FilterError, Filters, eligible, filter_columns
from pinjoin.filters.conditions import (
    Both,
    Column,
    Compare,
    Condition,
    Either,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Operand,
    Truth,
)
from pinjoin.lookup import Lookup
from pinjoin.snapshot.reader import open_snapshot

COLUMNS: dict[str, Type] = {
    "price": "number",
    "feature_old": "number",
    "safe": "bool",
    "in_stock": "bool",
    "locale": "text",
    "order": "text",  # a word of SQL
    "Größe 2": "text",  # no word at all
    "date": "time",
    "boards": "number",
    "pins": "number",
}


# The reference: conditions told pin by pin, null as None.

OPS = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def told(condition: Condition, pin: Mapping[str, Any]) -> bool | None:
    def value(operand: Operand) -> Any:
        return pin[operand.name] if isinstance(operand, Column) else operand.value

    match condition:
        case Truth(operand):
            return value(operand)
        case IsNull(operand):
            return value(operand) is None
        case Not(inner):
            found = told(inner, pin)
            return None if found is None else not found
        case Both(parts):
            found = [told(part, pin) for part in parts]
            return False if False in found else None if None in found else True
        case Either(parts):
            found = [told(part, pin) for part in parts]
            return True if True in found else None if None in found else False
        case Compare(op, left, right):
            sides = value(left), value(right)
            return None if None in sides else OPS[op](*sides)
        case In(operand, values):
            equal = [told(Compare("=", operand, one), pin) for one in values]
            return True if True in equal else None if None in equal else False
        case Like(operand, pattern):
            text = value(operand)
            if text is None or pattern.value is None:
                return None
            return like(str(pattern.value), text)


def like(pattern: str, text: str) -> bool:
    parts = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\" and i + 1 < len(pattern):
            i += 1
            parts.append(re.escape(pattern[i]))
        else:
            parts.append({"%": ".*", "_": "."}.get(c, re.escape(c)))
        i += 1
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


# Conditions and how they are written.


def written(condition: Condition, parenthesised: bool = False) -> str:
    """As SQL: with the fewest parentheses that precedence (or < and < not) needs, or many."""

    def inner(part: Condition, *loose: type) -> str:
        text = written(part, parenthesised)
        return f"({text})" if parenthesised or isinstance(part, loose) else text

    match condition:
        case Truth(operand):
            return word(operand)
        case IsNull(operand):
            return f"{word(operand)} IS NULL"
        case Not(IsNull(operand)):
            return f"{word(operand)} is not null"
        case Not(In(operand, values)):
            return f"{word(operand)} not in ({', '.join(map(word, values))})"
        case Not(Like(operand, pattern)):
            return f"{word(operand)} not like {word(pattern)}"
        case Not(part):
            return f"not {inner(part, Both, Either)}"
        case Both(parts):
            return " and ".join(inner(part, Either, Both) for part in parts)
        case Either(parts):
            return "\n OR ".join(inner(part, Either) for part in parts)
        case Compare(op, left, right):
            return f"{word(left)}{op}{word(right)}"
        case In(operand, values):
            return f"{word(operand)} in ({','.join(map(word, values))})"
        case Like(operand, pattern):
            return f"{word(operand)} like {word(pattern)}"


def word(operand: Operand) -> str:
    if isinstance(operand, Column):
        return f'"{operand.name}"' if operand.quoted else operand.name
    value = operand.value
    if value is None:
        return "null"
    if operand.type == "bool":
        return "true" if value else "False"
    if operand.type == "time":
        return f"timestamp '{datetime.fromtimestamp(int(value), UTC).isoformat()}'"
    if operand.type == "text":
        return "'" + str(value).replace("'", "''") + "'"
    return repr(value)


TEXTS = st.text("ab%_\\'\"é\n.*(", max_size=4) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
).map(lambda text: unicodedata.normalize("NFC", text))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.integers(-3, 3).map(float) | st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "text": TEXTS,
    "time": st.integers(-2, 2) | st.integers(-(10**9), 4 * 10**9),
}


def columns(kind: Type) -> st.SearchStrategy[Column]:
    names = [name for name, one in COLUMNS.items() if one == kind]
    return st.builds(
        lambda name, quoted: Column(name, None, quoted or not name.isidentifier()),
        st.sampled_from(names),
        st.booleans(),
    )


def literals(kind: Type) -> st.SearchStrategy[Literal]:
    return VALUES[kind].map(lambda value: Literal(value, kind)) | st.just(Literal(None, None))


@st.composite
def comparisons(draw: st.DrawFn) -> Condition:
    kind = draw(st.sampled_from(list(TYPES)))
    operands = columns(kind) | columns(kind) | literals(kind)
    shape = draw(st.sampled_from(["compare", "in", "null", "like", "truth"]))
    if shape == "null":
        return IsNull(draw(operands))
    if shape == "truth":
        return Truth(draw(columns("bool") | literals("bool")))
    if shape == "like":
        pattern = draw(literals("text").filter(lambda one: is_pattern(str(one.value))))
        return Like(draw(columns("text") | literals("text")), pattern)
    if shape == "in":
        return In(draw(operands), tuple(draw(st.lists(literals(kind), min_size=1, max_size=4))))
    ops = ["=", "!="] if kind == "bool" else list(OPS)
    return Compare(draw(st.sampled_from(ops)), draw(operands), draw(operands))


def joined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return several.map(Both) | several.map(Either) | inner.map(Not)


CONDITIONS = st.recursive(comparisons(), joined, max_leaves=6)


@dataclass
class Catalogue:
    """The parts of a lookup that filters read."""

    pins: pa.Table
    pin_image: np.ndarray[Any, Any]
    degrees: np.ndarray[Any, Any]

    @property
    def n_images(self) -> int:
        return len(self.degrees)

    @property
    def incidence(self) -> Any:
        return SimpleNamespace(degrees=self.degrees)

    @property
    def snapshot(self) -> Any:
        shown = self.pin_image[self.pin_image != NO_ROW]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(shown, minlength=self.n_images))])
        arrays = {"pin_image": self.pin_image, "image_pins.indptr": indptr}
        return SimpleNamespace(table={"pins": self.pins}.get, array=arrays.get)

    def rows(self) -> list[dict[str, Any]]:
        """The pins with the numbers of their images; times as unix seconds."""
        seconds = self.pins["date"].cast(pa.int64())
        table = self.pins.set_column(self.pins.column_names.index("date"), "date", seconds)
        found = table.to_pylist()
        for pin, image in zip(found, self.pin_image.tolist(), strict=True):
            shown = image != NO_ROW
            pin["boards"] = int(self.degrees[image]) if shown else None
            pin["pins"] = int((self.pin_image == image).sum())
        return found


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    n_images = draw(st.integers(1, 5))
    more = draw(st.lists(st.integers(0, n_images - 1) | st.just(NO_ROW), max_size=8))
    images = draw(st.permutations([*range(n_images), *more]))
    arrays = {"pin_id": pa.array([str(i) for i in range(len(images))])}
    for name, kind in list(COLUMNS.items())[:-2]:
        size = {"min_size": len(images), "max_size": len(images)}
        values = draw(st.lists(VALUES[kind] | st.none(), **size))
        arrays[name] = pa.array(values, TYPES[kind])
    cut = draw(st.integers(0, len(images)))
    whole = pa.table(arrays)
    pieces = pa.concat_tables([whole[:cut], whole[cut:]])  # as stored batches
    degrees = draw(st.lists(st.integers(0, 3), min_size=n_images, max_size=n_images))
    return Catalogue(pieces, np.array(images, np.uint32), np.array(degrees))


@settings(max_examples=200)
@given(catalogues(), CONDITIONS, st.booleans())
def test_an_image_is_eligible_if_one_of_its_pins_satisfies_the_filter(
    catalogue: Catalogue, condition: Condition, parenthesised: bool
) -> None:
    wanted = [False] * catalogue.n_images
    for pin, image in zip(catalogue.rows(), catalogue.pin_image.tolist(), strict=True):
        if image != NO_ROW and told(condition, pin) is True:
            wanted[image] = True
    mask = eligible(catalogue, written(condition, parenthesised))  # type: ignore[arg-type]
    assert mask.tolist() == wanted
    assert mask.dtype == bool


@given(catalogues(), CONDITIONS)
def test_a_filter_its_negation_and_its_null_are_all_there_is(
    catalogue: Catalogue, condition: Condition
) -> None:
    text = written(condition, parenthesised=True)
    masks = [
        eligible(catalogue, one)  # type: ignore[arg-type]
        for one in (text, f"not ({text})", f"({text}) or true", f"({text}) and false")
    ]
    assert (masks[0] | masks[1] <= masks[2]).all()
    assert masks[2].all()
    assert not masks[3].any()


def is_pattern(text: str) -> bool:
    r"""A pattern does not end in a \\ of its own."""
    return re.search(r"(?<!\\)(\\\\)*\\\Z", text) is None


@given(TEXTS.filter(is_pattern), TEXTS)
@example("a\\\\", "a\\")
@example("\\a\\_b", "a_b")
@example("\\%", "%")
@example("\\.%", ".x")
@example("%\n_", "a\nb")
def test_like_is_what_sql_says(pattern: str, text: str) -> None:
    table = pa.table({"pin_id": ["0"], "locale": [text]})
    catalogue = Catalogue(table, np.zeros(1, np.uint32), np.ones(1, int))
    said = f"locale like {word(Literal(pattern, 'text'))}"
    assert eligible(catalogue, said).tolist() == [like(pattern, text)]  # type: ignore[arg-type]


def test_counts_are_of_the_images_of_each_stored_batch() -> None:
    batch = pa.table({"pin_id": ["0", "1"]})
    images = np.array([0, 1, 2, NO_ROW], np.uint32)
    catalogue = Catalogue(pa.concat_tables([batch, batch]), images, np.array([5, 7, 9]))
    for boards in (5, 7, 9):
        mask = eligible(catalogue, f"boards = {boards}")  # type: ignore[arg-type]
        assert mask.tolist() == [boards == 5, boards == 7, boards == 9]


def test_columns_of_a_source_of_ones_own_may_have_other_types() -> None:
    early = pa.scalar(1_500, pa.timestamp("ms", tz="UTC")).as_py()
    pins = {"pin_id": ["0"], "n": pa.array([7], pa.int16()), "kind": pa.array(["a"])}
    pins |= {"t": pa.array([early], pa.timestamp("ms", tz="UTC")), "tags": [["not", "a", "value"]]}
    pins["kind"] = pins["kind"].dictionary_encode()
    catalogue: Any = Catalogue(pa.table(pins), np.zeros(1, np.uint32), np.ones(1, int))
    assert eligible(catalogue, "n = 7 and kind = 'a' and t = 1").tolist() == [True]
    with pytest.raises(FilterError, match="no column 'tags'"):
        eligible(catalogue, "tags is null")


PRECEDENCE = [
    ("a or b and c", "a or (b and c)"),
    ("a and b or c", "(a and b) or c"),
    ("not a and b", "(not a) and b"),
    ("not a = b", "not (a = b)"),
    ("not a in (1)", "not (a in (1))"),
    ("not a is null or b", "(not (a is null)) or b"),
    ("a between 1 and 2 and b", "(a >= 1 and a <= 2) and b"),
    ("a not between 1 and 2", "not (a >= 1 and a <= 2)"),
    ("a == 1", "a = 1"),
    ("a <> 1", "a != 1"),
    ("(((a))) = ((1))", "a = 1"),
    ("A IS NOT NULL", "not (A is null)"),
    ("a = - 1", "a = -1"),
    ("created_at > date '2015-03-01'", "created_at > timestamp '2015-03-01T00:00:00Z'"),
]


@pytest.mark.parametrize(("loose", "strict"), PRECEDENCE)
def test_precedence(loose: str, strict: str) -> None:
    def without_places(condition: Condition) -> str:
        return re.sub(r"at=(\d+|None)", "", repr(condition))

    assert without_places(Filter.parse(loose).condition) == without_places(
        Filter.parse(strict).condition
    )


def one_pin(**values: Any) -> Any:
    pins = pa.table({"pin_id": ["0"]} | {name: pa.array([v]) for name, v in values.items()})
    return Catalogue(pins, np.zeros(1, np.uint32), np.ones(1, int))


DAY = datetime(2015, 3, 1, tzinfo=UTC)
TIMES = [
    ("t = '2015-03-01'", True),
    ("t = date '2015-03-01'", True),
    ("t = 1425168000", True),
    ("t in ('2015-03-01T02:00:00+02:00', '1999-01-01')", True),
    ("t between '2015-02-28' and '2015-03-01'", True),
    ("t > '2015-03-01'", False),
    ("'2015-02-28T23:59:59' < t", True),
    ("t = null", False),
    ("t not in ('2014-01-01', null)", False),
]


@pytest.mark.parametrize(("text", "wanted"), TIMES)
def test_times_compare_with_dates_in_quotes_and_unix_seconds(text: str, wanted: bool) -> None:
    assert eligible(one_pin(t=DAY), text).tolist() == [wanted]


def test_text_of_a_filter_is_compared_in_its_normal_form() -> None:
    assert eligible(one_pin(x="é"), "x = 'e\u0301'").tolist() == [True]
    assert eligible(one_pin(x="é"), "x like 'e\u0301%'").tolist() == [True]


# What is refused.

HOSTILE = [
    ("price = 1; drop table pins", 9, "';' is not part of filters"),
    ("price = 1 -- and safe", 8, "filters have no comments"),
    ("price /* and safe */ = 1", 0, "filters have no comments"),
    ("-- nothing", None, "it is empty"),
    ("lower(locale) = 'de'", 0, "'lower' is no function"),
    ("count(*) > 1", 0, "'count' is no function"),
    ("safe or exists (select 1)", 8, "'exists' is no function"),
    ("price in (select price from pins)", 17, "it cannot be read at 'price'"),
    ("(select 1) = 1", 8, "it cannot be read at '1'"),
    ("select * from pins", 7, "'[*]' is not part of filters"),
    ("price * 2 > 3", 6, "'[*]' is not part of filters"),
    ("price - 1 > 3", 0, "filters have no such expression"),
    ("price = --1", 6, "filters have no comments"),
    ("price = - price", 8, "'-' stands before a number only"),
    ("price::int = 1", 5, "'::' is not part of filters"),
    ("cast(price as text) = '1'", 0, "'cast' is no function"),
    ("case when safe then 1 end", 5, "cannot be read at 'when'"),
    ("pins.price = 1", 4, "'[.]' is not part of filters"),
    ("locale ilike 'x'", 7, "cannot be read at 'ilike'"),
    ("locale like 'x' escape '!'", 16, "cannot be read at 'escape'"),
    ("locale similar to 'x'", 7, "'SIMILAR TO' is not part"),
    ("locale ~ 'x'", 7, "'~' is not part"),
    ("locale || 'x' = 'y'", 7, r"'\|\|' is not part"),
    ("locale = 'a' 'b'", 9, "filters have no such expression"),
    ("locale = \"de\"", 9, "no column 'de'"),
    ("locale in (\"de\")", 11, "a value is wanted, and no column. Text stands in single quotes"),
    ("{{price}} = 1", 0, "'{' is not part"),
    ("$1 = price", 0, r"'\$1' is not part"),
    ("? = price", 0, r"'\?' is not part"),
    (":x = price", 0, "':' is not part"),
    ("@x = price", 0, "'@' is not part"),
    ("price[1] = 1", 5, r"'\[' is not part"),
    ("(price, 1) = (1, 1)", 1, "filters have no such expression"),
    ("price = 1 = 2", 0, "a value is wanted"),
    ("safe is true", 0, "no condition stands here"),
    ("price is distinct from 1", 0, "filters have no such expression|cannot be read"),
    ("price between symmetric 1 and 2", 0, "filters have no such expression|cannot be read"),
    ("price in ()", 0, "in needs a list"),
    ("price in 5", 0, "in needs a list"),
    ("price in (1, safe)", 13, "a value is wanted, and no column"),
    ("price = 0x1F", 9, "cannot be read at 'x1F'"),
    ("price = 1_000", 9, "cannot be read at '_000'"),
    ("interval '1' day = price", 9, "cannot be read at"),
    ("date '2015-13-01' < date", 5, "'2015-13-01' is no date"),
    ("safe and", 5, "cannot be read at 'and'"),
    ("= 5", 2, "cannot be read at '5'"),
    ("()", None, "no such expression|cannot be read"),
    ("(safe", 1, "cannot be read at 'safe'"),
    ("safe)", 4, r"cannot be read at '\)'"),
    ("", None, "it is empty"),
    (" \n", None, "it is empty"),
    ("locale = 'de", None, "a quote or comment is opened and not closed"),
    ('"locale', None, "a quote or comment is opened and not closed"),
    ("locale = '\ud800'", 10, "half a character"),
    ("\0", 0, r"'\\x00' is not part"),
    ("prıce \u202e= 1", 6, "is not part"),
    ("(" * 21 + "safe" + ")" * 21, 20, "more than 20 parentheses"),
    ("(" * 30_000 + "safe" + ")" * 30_000, 20, "more than 20 parentheses"),
    ("not " * 10_000 + "safe", 80, "more than 20 parentheses or nots"),
    ("not (" * 5_000 + "safe" + ")" * 5_000, 50, "more than 20 parentheses or nots"),
    (" and ".join(["safe"] * 5_000), 1805, "more than 200 comparisons, ands and ors"),
    ("=".join(["price"] * 5_000), 1205, "more than 200 comparisons"),
    (" or ".join(["locale like 'x'"] * 11), 197, "more than 10 likes"),
    ("x" * 65_537, None, "65,537 characters, more than 65,536"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "position", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_not_of_the_language_is_refused_where_it_stands(
    text: str, position: int | None, message: str
) -> None:
    with pytest.raises(FilterError, match=f"^Filter.*{message}.* Got ") as caught:
        eligible(one_pin(price=1.0, safe=True, locale="de", date=DAY), text)
    assert caught.value.position == position
    assert len(str(caught.value)) < 600
    if position is not None:
        assert f"character {position + 1}:" in str(caught.value)


MISFITS = [
    ("lokale = 'de'", 0, "there is no column 'lokale'.* Did you mean locale.* Columns are pin_id, "
     "price, safe, locale, date, boards, pins; others are kept by pinjoin build --attribute"),
    ('locale = "de"', 9, "Text stands in single quotes, column names in double ones"),
    ("safe and PRICE < 5", 9, "no column 'PRICE'.* Did you mean price"),
    ("current_date > date", 0, "no column 'current_date'"),
    ("price", 0, "price, which is number, stands alone.* Compare it with a number"),
    ("price = 'x'", 8, "'x' is compared with number.* Write a number"),
    ("locale = 5", 9, "5 is compared with text.* Write text in single quotes"),
    ("locale in ('de', 5)", 17, "5 is compared with text"),
    ("safe = 'true'", 7, "'true' is compared with bool.* Write true or false, or build with "
     "--attribute NAME:TYPE"),
    ("price = safe", 8, "safe, which is bool, is compared with number"),
    ("safe < true", 0, "compared by = and != only"),
    ("safe between false and true", 0, "compared by = and != only"),
    ("date > 'yesterday'", 7, "'yesterday' is compared with time.* Write a time such as"),
    ("date > 1.5", 7, "1.5 is compared with time"),
    ("date > 1e30", 7, r"1e\+30 is compared with time"),
    ("date = true", None, "True is compared with time"),
    ("price like 'x'", 0, "like compares text, and this is number"),
    ("locale like 5", 12, "5 is compared with text"),
    ("locale like 'x\\'", 12, "ends in a backslash"),
    ("locale like '" + "_" * 1001 + "'", 12, "the pattern has more than 1,000 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "position", "message"), MISFITS, ids=[m[0][:30] for m in MISFITS])
def test_what_does_not_fit_the_columns_is_refused_with_what_would(
    text: str, position: int | None, message: str
) -> None:
    with pytest.raises(FilterError, match=message) as caught:
        eligible(one_pin(price=1.0, safe=True, locale="de", date=DAY), text)
    assert caught.value.position == position
    assert isinstance(caught.value, ConfigError)


TOKENS = st.sampled_from(
    r"""and or not in is null like between true false ( ) , - = != <> < <= > >= price safe locale
    'de' 1 2.5 "price" date '2015-03-01' ; -- /* */ . * + select lower case exists :: { } $ ?
    é \ ' " escape collate array all any as by""".split()  # noqa: SIM905
)


@settings(max_examples=300)
@given(st.lists(TOKENS, max_size=12).map(" ".join) | st.text(max_size=30))
def test_any_text_is_a_filter_or_an_error_that_says_so(text: str) -> None:
    try:
        mask = eligible(one_pin(price=1.0, safe=True, locale="de", date=DAY), text)
    except FilterError:
        return
    assert mask.shape == (1,)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_text_gets_out_of_its_quotes(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    assert eligible(one_pin(x=text), f"x = {word(Literal(text, 'text'))}").tolist() == [True]


def test_long_lists_are_fine() -> None:
    values = ", ".join(f"'{i}'" for i in range(5_000))
    assert eligible(one_pin(x="4999"), f"x in ({values})").tolist() == [True]
    assert eligible(one_pin(x="5000"), f"x in ({values})").tolist() == [False]


def test_a_filter_knows_its_columns() -> None:
    assert Filter.parse("b = 1 and (a or not b in (2)) and 1 = 1").columns == ("b", "a")
    with pytest.raises(ConfigError, match="must be text. Got 5"):
        Filter.parse(5)  # type: ignore[arg-type]


# On a built catalogue.


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Lookup:
    folder: Path = tmp_path_factory.mktemp("filters")
    (folder / "pins.csv").write_text(
        "pin_id,board_id,image,title,created_at,feature_price,in_stock,locale\n"
        "1,a,lamp.jpg,Lamp,2015-03-01,20,true,de\n"
        "2,b,lamp.jpg,,2016-03-01,30,false,at\n"
        "3,a,rug.jpg,Rug,,,true,\n"
        "4,,vase.jpg,Vase,,5,,de\n"
        "4,b,gone.jpg,Gone,,5,true,de\n"  # an id given twice: left out
    )
    (folder / "boards.csv").write_text("board_id,title\na,A\nb,B\n")
    pinjoin.build(
        folder / "ws",
        pinjoin.open_source("pins", folder / "pins.csv", attributes=["in_stock", "locale"]),
        pinjoin.open_source("boards", folder / "boards.csv"),
        encoder=None,
    )
    return Lookup(folder / "ws", open_snapshot(folder / "ws"))  # lamp (on 2 boards), rug, vase


BUILT = [
    ("in_stock", [True, True, False]),
    ("not in_stock", [True, False, False]),
    ("in_stock is null", [False, False, True]),
    ("locale in ('de', 'ch')", [True, False, True]),
    ("in_stock and locale = 'at'", [False, False, False]),  # one pin must satisfy all of it
    ("feature_price < 25", [True, False, True]),
    ("boards > 0 and pins = 1", [False, True, False]),
    ("boards = 0", [False, False, True]),
    ("pin_id = '4'", [False, False, True]),
    ("title like '%s%'", [False, False, True]),
    ("title like 'Gone'", [False, False, False]),
    ("created_at >= '2016-01-01'", [True, False, False]),
    ("true", [True, True, True]),
    ("null", [False, False, False]),
    ("description is null and user_id is null and link is null", [True, True, True]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), BUILT)
def test_filters_of_a_built_catalogue(lookup: Lookup, text: str, wanted: list[bool]) -> None:
    assert eligible(lookup, text).tolist() == wanted


def test_the_columns_are_those_stored_and_the_numbers_of_boards_and_pins(
    lookup: Lookup,
) -> None:
    assert filter_columns(lookup) == {
        **dict.fromkeys(("pin_id", "title", "description", "link", "user_id"), "text"),
        **{"created_at": "time", "feature_price": "number", "in_stock": "bool", "locale": "text"},
        **{"boards": "number", "pins": "number"},
    }


def test_masks_are_kept_and_cannot_be_written(lookup: Lookup) -> None:
    filters = Filters(lookup, size=2)
    mask = filters.mask("in_stock")
    assert mask.tolist() == [True, True, False]
    assert filters.mask("in_stock") is mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = False
    filters.mask("boards > 0")
    filters.mask("boards > 1")
    assert filters.mask("in_stock") is not mask, "the oldest went"
    with pytest.raises(FilterError, match="in_stok"):
        filters.mask("in_stok")


def test_the_parser_is_not_imported_before_the_first_filter() -> None:
    code = "import sys, pinjoin.filters; sys.exit('sqlglot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
