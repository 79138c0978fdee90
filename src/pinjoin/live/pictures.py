"""Pictures of what is new, looked at in the background: they take longer than a save may."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pinjoin.core.errors import PinjoinError
from pinjoin.data.fetch import FetchConfig
from pinjoin.data.images import ImageError, read_size
from pinjoin.data.rejects import Rejects
from pinjoin.joins.image_files import ImageFiles
from pinjoin.joins.signatures import signature_of_images

if TYPE_CHECKING:
    from pinjoin.features.visual import Encoder, Visual

_AT_ONCE = 16  # pictures whose files are looked for together
_PATIENCE_S = 5.0  # for a picture that is being fetched when all ends

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What there is to know of the picture of an image row."""

    row: int
    visual: Visual  # of one picture
    size: tuple[int, int]  # width, height


@dataclass(frozen=True)
class Wanted:
    """A picture to look at for an image row; None: whose signature is asked for."""

    reference: str  # as it was given
    row: int | None
    normal: str = ""  # spelling of the reference, for who is told the signature


class PictureWorker:
    """A thread that finds, signs and looks at pictures, one after another.

    config: of the manifest. encoder: what looks at them; None: nobody does. seen, signed: are
    told; a signature is None where there is no picture to read.
    """

    def __init__(
        self,
        workspace: Path,
        config: dict[str, Any],
        encoder: Callable[[], Encoder] | None,
        seen: Callable[[Seen], None],
        signed: Callable[[str, str | None], None],
    ) -> None:
        fetch = FetchConfig(allow_private=config["allow_private"]) if config["fetch"] else None
        self._files = ImageFiles(config["images"], config["base"], workspace, fetch)
        self._kind = config["signature"]
        self._encoder, self._seen, self._signed = encoder, seen, signed
        self._waiting: queue.SimpleQueue[Wanted | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def ask(self, wanted: Sequence[Wanted]) -> None:
        """Look at pictures when there is time. Only for one thread."""
        for one in wanted:
            if one.row is None or self._encoder is not None:
                self._waiting.put(one)
        if self._thread is None and not self._waiting.empty():
            self._thread = threading.Thread(target=self._run, name="live-pictures", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop after what is being looked at, for which nobody waits long."""
        self._stopped = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        while not self._stopped and (some := self._next()):
            try:
                paths = self._find([one.reference for one in some])
            except (PinjoinError, OSError) as error:
                _log.warning("New pictures were not found: %s", error)
                paths = [None] * len(some)
            for one, path in zip(some, paths, strict=True):
                if self._stopped:
                    return
                try:
                    self._look(one, path)
                except Exception:  # one picture must not cost all later ones
                    _log.exception("A new picture was not looked at: %s", one.reference)

    def _next(self) -> list[Wanted]:
        """Some that wait; none: stop."""
        some = [self._waiting.get()]
        while len(some) < _AT_ONCE and not self._waiting.empty() and some[-1] is not None:
            some.append(self._waiting.get())
        return [one for one in some if one is not None]

    def _find(self, references: list[str]) -> list[Path | None]:
        return self._files.find(pa.chunked_array([references], pa.string()), Rejects(None))

    def _look(self, wanted: Wanted, path: Path | None) -> None:
        if wanted.row is None:
            [signature] = signature_of_images([path], self._kind, threads=1)
            self._signed(wanted.normal, signature)
        elif path is not None and self._encoder is not None:
            encoder = self._encoder()
            try:
                visual, size = encoder.visual(encoder.tensor(path)[None]), read_size(path)
            except ImageError as error:
                _log.info("A new picture cannot be read: %s", error)
                return
            self._seen(Seen(wanted.row, visual, (int(size[0]), int(size[1]))))
