"""The reference signature: one spelling for all references that mean the same image."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# What matches needs no change. It may be too strict, never too lax: printable ASCII; a URL has a
# lower-case host, no port, a path, and only parameters whose names are too short for a tracking
# parameter's or common with image servers; a path has no empty segment and none that is ".".
_SEGMENT = r"(?:[!-\-0-\[\]-~][!-.0-\[\]-~]*|\.[!-.0-\[\]-~]+)"
_VALUE = r"[!$'-;=?-Z\[\]_a-z~]"
_PARAMETER = rf"(?:[A-Za-z0-9]{{1,3}}|auto|crop|format|height|ix(?:lib|id)|size|width)={_VALUE}*"
_CLEAN = (
    rf"^(?:https://[a-z0-9.\-]+/[!$&-;=@-Z\[\]_a-z~]*(?:\?{_PARAMETER}(?:&{_PARAMETER})*)?"
    rf"|/?{_SEGMENT}(?:/{_SEGMENT})*/?)$"
)


def normalise_references(references: pa.StringArray) -> pa.StringArray:
    r"""Each reference in its one normal spelling: the `reference` signature.

    `http(s)` URLs: scheme and host in lower case, `http` as `https`, ports 80 and 443 dropped,
    an empty path as `/`, fragment dropped, tracking and empty parameters dropped, the others
    kept in their order; percent-encoding as in RFC 3986 §6.2.2 (unreserved characters bare, hex
    digits in upper case), and blanks, non-ASCII and a stray `%` encoded.
    Paths: `\` as `/`, `//` as `/`, `./` dropped; `..` stays, as it may cross a link.
    References of another scheme (`s3://…`, `data:…`) keep all but the scheme's case, since
    `#`, `?` and `%` may belong to a name there.
    All: surrounding blanks dropped, Unicode NFC. Nulls stay null; a reference that would become
    empty stays as it was. Idempotent; the very array comes back when nothing needs a change.

    >>> import pyarrow as pa
    >>> normalise_references(pa.array(["HTTP://Shop.com:80/%7ea.jpg?utm_source=x&w=2#top"]))[0]
    <pyarrow.StringScalar: 'https://shop.com/~a.jpg?w=2'>
    >>> normalise_references(pa.array([".\\images//a.jpg"]))[0]
    <pyarrow.StringScalar: 'images/a.jpg'>
    """
    clean = pc.match_substring_regex(references, _CLEAN)
    dirty = pc.invert(clean).fill_null(False)
    wanting = pc.sum(dirty).as_py() or 0
    if wanting == 0:
        return references
    if wanting == len(references):
        return _normalise(references)
    return pc.replace_with_mask(references, dirty, _normalise(references.filter(dirty)))


def _normalise(references: pa.StringArray) -> pa.StringArray:
    """The long way. `references` has no nulls."""
    from pinjoin.joins._references_kernel import normalise  # numba: only where there is need

    if not pc.all(pc.string_is_ascii(references)).as_py():
        references = pc.utf8_normalize(references, form="NFC")
    offsets = np.frombuffer(references.buffers()[1], np.int32)
    starts = offsets[references.offset : references.offset + len(references) + 1]
    data = np.frombuffer(references.buffers()[2] or b"", np.uint8)
    size = 3 * (int(starts[-1]) - int(starts[0])) + 2 * len(references)
    out = np.empty(size, np.uint8)  # untouched pages cost nothing
    out_starts = np.empty(len(references) + 1, np.int64)
    normalise(data, starts, out, out_starts)
    used = out[: out_starts[-1]].copy()
    offsets_buffer = pa.py_buffer(out_starts.astype(np.int32))
    return pa.StringArray.from_buffers(len(references), offsets_buffer, pa.py_buffer(used))
