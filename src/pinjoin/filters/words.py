"""The words and signs of filters: all others are refused before anything is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pinjoin.filters.errors import FilterError

if TYPE_CHECKING:
    from sqlglot import Token

MAX_LENGTH = 65_536  # characters: some thousands of ids in a list
MAX_STEPS = 200  # comparisons, ands and ors
MAX_LIKES = 10  # a pattern may cost as much as thirty comparisons of numbers
MAX_DEPTH = 20  # parentheses and nots within each other

_COMPARING = ("=", "==", "!=", "<>", "<", "<=", ">", ">=", "in", "is", "like", "between")
_JOINING = ("and", "or")
_OWN = {*_COMPARING, *_JOINING, "not", "null", "true", "false", "(", ")", ",", "-"}
_DATES = ("date", "timestamp")
_WORD = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def tokens_of(text: str) -> list[Token]:
    """The filter's words and signs; every word that is not the language's own made a name.

    So a column may be called `order` or `date`, and nothing else can mean more than a column.
    Raises FilterError, also where a filter is so large or so deep that it would be slow.
    """
    if len(text) > MAX_LENGTH:
        problem = f"it has {len(text):,} characters, more than {MAX_LENGTH:,}"
        raise FilterError(problem, text, remedy="Shorten it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FilterError("half a character", text, error.start) from None
    tokens = _split(text)
    if not tokens:
        raise FilterError("it is empty", text)
    _check_size(text, tokens)
    return list(_names(text, tokens))


def too_deep(text: str, position: int | None = None) -> FilterError:
    """The error for a filter whose parts are nested too deeply."""
    problem = f"more than {MAX_DEPTH} parentheses or nots within each other"
    return FilterError(problem, text, position, "Write it flatter.")


def _split(text: str) -> list[Token]:
    from sqlglot import Dialect
    from sqlglot.errors import TokenError

    try:
        return Dialect.get_or_raise(None).tokenize(text)
    except TokenError:
        problem = "a quote or comment is opened and not closed"
        raise FilterError(problem, text, remedy="A quote within text is doubled: ''.") from None


def _check_size(text: str, tokens: Sequence[Token]) -> None:
    steps = likes = depth = nots = 0
    for token in tokens:
        word = _own_word(token)
        steps += word in _COMPARING or word in _JOINING
        likes += word == "like"
        depth += (word == "(") - (word == ")")
        nots = nots + 1 if word == "not" else nots if word == "(" else 0
        if depth + nots > MAX_DEPTH:
            raise too_deep(text, token.start)
        if steps > MAX_STEPS:
            problem = f"more than {MAX_STEPS} comparisons, ands and ors"
            remedy = "Name many values of one column with in (…)."
            raise FilterError(problem, text, token.start, remedy)
        if likes > MAX_LIKES:
            problem = f"more than {MAX_LIKES} likes"
            raise FilterError(problem, text, token.start, "Keep what they find as an attribute.")


def _own_word(token: Token) -> str | None:
    """The word or sign of the language that a token is; None for names and values."""
    from sqlglot import TokenType

    if token.token_type in (TokenType.STRING, TokenType.IDENTIFIER, TokenType.NUMBER):
        return None
    word = token.text.lower()
    return word if word in _OWN else None


def _names(text: str, tokens: Sequence[Token]) -> Iterator[Token]:
    from sqlglot import Token as Made
    from sqlglot import TokenType

    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        kind, after = token.token_type, following and following.token_type
        is_value = kind in (TokenType.STRING, TokenType.IDENTIFIER, TokenType.NUMBER)
        problem = ""
        if token.comments:
            problem = "filters have no comments"
        elif kind == TokenType.NUMBER and not _NUMBER.fullmatch(token.text):
            problem = f"{token.text!r} is no number"
        elif token.text == "-" and not is_value and after != TokenType.NUMBER:
            problem = "'-' stands before a number only"
        elif is_value or _own_word(token):
            yield token
        elif not _WORD.fullmatch(token.text):
            problem = f"{token.text!r} is not part of filters"
        elif after == TokenType.L_PAREN:
            problem = f"{token.text!r} is no function: filters have none"
        elif token.text.lower() in _DATES and after == TokenType.STRING:
            yield token
        else:
            yield Made(TokenType.VAR, token.text, token.line, token.col, token.start, token.end)
        if problem:
            raise FilterError(problem, text, token.start)
