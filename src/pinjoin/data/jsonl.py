"""JSON lines: streamed in blocks; a line that is no JSON object is rejected, not the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from pinjoin.core.errors import InputError
from pinjoin.data.blocks import Block, Fault
from pinjoin.data.formats import Opening, refuse_other_encoding
from pinjoin.data.guesses import guess_json
from pinjoin.data.records import RECORD_LIMIT, count_lines, text_chunks
from pinjoin.data.schema import Type

_SAMPLE_LINES = 1000
_REMEDY = 'Each line must be one JSON object, such as {"pin_id": "1", "image": "1.jpg"}.'


class JsonLinesPart:
    """One JSON-lines file. Its columns are the keys of its first 1,000 objects."""

    length: int | None = None
    complete = False

    def __init__(self, opening: Opening) -> None:
        self.name = opening.name
        self._opening = opening
        refuse_other_encoding(self.name, opening.head)
        objects = list(_sample(opening.head))
        keys: Counter[str] = Counter(key for one in objects for key in one)
        self.columns = tuple(keys)
        self._types = {key: _type_of([one.get(key) for one in objects]) for key in keys}
        if not opening.head.strip():
            self.length = 0

    def column_type(self, column: str) -> pa.DataType | None:
        """None: each value tells its own type."""
        return None

    def look(self, columns: Sequence[str]) -> dict[str, Type]:
        """The types that the values of its first 1,000 objects look like."""
        objects = list(_sample(self._opening.head))
        found: dict[str, Type] = {}
        for column in columns:
            given = [value for one in objects if (value := one.get(column)) is not None]
            if given and all(isinstance(value, list | dict) for value in given):
                raise InputError(
                    f"{self.name}: {column!r} holds a JSON {_kind(given[0])} in each object; an "
                    "attribute must be one value. Give one, or leave the attribute out."
                )
            if (kind := guess_json(given)) is not None:
                found[column] = kind
        return found

    def blocks(self, columns: Sequence[str], one_line: Collection[str] = ()) -> Iterator[Block]:
        """The objects' values of these keys; what is neither text nor number as its JSON text."""
        line = 1
        for text, faults in _line_blocks(self._opening):
            if text.strip():
                yield self._parse(text, line, columns)
            line += count_lines(text)
            for reason, value in faults:
                yield Block({}, 0, lambda i: i, [Fault(line, value, reason, _REMEDY)])
                line += 1

    def _parse(self, text: bytes, line: int, columns: Sequence[str]) -> Block:
        types = [(column, self._types.get(column, pa.string())) for column in columns]
        if any(kind is None for _, kind in types):
            return _parse_lines(text, line, columns)
        parse = arrow_json.ParseOptions(
            explicit_schema=pa.schema(types), unexpected_field_behavior="ignore"
        )
        read = arrow_json.ReadOptions(block_size=max(1 << 20, _longest(text) + 2))
        try:
            table = arrow_json.read_json(pa.BufferReader(text), read, parse).combine_chunks()
        except (pa.ArrowException, UnicodeError):
            return _parse_lines(text, line, columns)  # says which line it is
        numbers = _full_lines(text)
        if len(numbers) != table.num_rows:  # objects side by side or over several lines
            return _parse_lines(text, line, columns)
        values = {
            column: table.column(column).chunk(0) if table.num_rows else pa.array([], kind)
            for column, kind in types
        }
        return Block(values, table.num_rows, partial(_offset, numbers, line))


def _offset(numbers: np.ndarray, line: int, index: np.ndarray) -> np.ndarray:
    found: np.ndarray = line + numbers[index]
    return found


def _full_lines(text: bytes) -> np.ndarray:
    """The 0-based numbers of the lines that are not blank."""
    view = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(view == 10)
    if not text.endswith(b"\n"):
        ends = np.append(ends, len(text))
    starts = np.concatenate([[0], ends[:-1] + 1])
    numbers = np.arange(len(ends))
    short = np.flatnonzero(ends - starts < 3)  # shorter than {} and its line break
    blank = [i for i in short.tolist() if not text[starts[i] : ends[i]].strip()]
    return np.delete(numbers, blank)


def _longest(text: bytes) -> int:
    """Length of the longest line."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 10)
    return int(np.diff(ends, prepend=-1, append=len(text)).max())


def _line_blocks(opening: Opening) -> Iterator[tuple[bytes, list[tuple[str, bytes]]]]:
    """(whole lines, what was wrong with the line after them), to the end of the file."""
    pending = b""
    skipping = False
    for chunk, final in text_chunks(opening, 0):
        text = pending + chunk if pending else chunk
        if skipping:
            cut = text.find(b"\n") + 1
            if not cut and not final:
                continue
            text, skipping = text[cut:] if cut else b"", False
        end = len(text) if final else text.rfind(b"\n") + 1
        text, pending = text[:end], text[end:]
        if len(pending) > RECORD_LIMIT:
            yield text, [("the line is longer than 4 MiB", pending[:800])]
            pending, skipping = b"", True
        else:
            yield text, []


def _parse_lines(text: bytes, line: int, columns: Sequence[str]) -> Block:
    """The same by Python, line by line: slow, and exact about which line is wrong."""
    faults: list[Fault] = []
    numbers: list[int] = []
    values: dict[str, list[Any]] = {column: [] for column in columns}
    for number, raw in enumerate(text.split(b"\n"), line):
        if not raw.strip():
            continue
        try:
            one = json.loads(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            faults.append(Fault(number, raw, f"not UTF-8 text at byte {error.start + 1}", ""))
            continue
        except (ValueError, RecursionError) as error:
            reason = f"not JSON: {getattr(error, 'msg', error)}"
            faults.append(Fault(number, raw, reason, _REMEDY))
            continue
        if not isinstance(one, dict):
            faults.append(Fault(number, raw, f"a JSON {_kind(one)}, not an object", _REMEDY))
            continue
        if nested := next((c for c in columns if isinstance(one.get(c), list | dict)), None):
            reason = f"a JSON {_kind(one[nested])} where text or a number belongs"
            faults.append(Fault(number, one[nested], reason, "Give one value.", nested))
            continue
        numbers.append(number)
        for column, found in values.items():
            found.append(_as_text(one.get(column)))
    arrays = {column: pa.array(found, pa.string()) for column, found in values.items()}
    at = np.array(numbers, np.int64)
    return Block(arrays, len(numbers), lambda index: at[index], faults)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        # A lone surrogate is legal JSON and no character; the cleaner must see valid text.
        return value if value is None else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return "" if value != value else json.dumps(value)


def _kind(value: Any) -> str:
    names = {list: "array", dict: "object", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _sample(head: bytes) -> Iterator[dict[str, Any]]:
    for raw in head.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]:
        try:
            one = json.loads(raw)
        except ValueError:
            continue
        if isinstance(one, dict):
            yield one


def _type_of(values: Sequence[Any]) -> pa.DataType | None:
    """The Arrow type for a key's values; None where they need a look one by one."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str}:
        return pa.string()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64() if all(abs(v or 0) < 2**63 for v in values) else None
    return pa.float64() if kinds <= {int, float} else None
