"""What is served: one open snapshot at a time, asked by the API and by the pages.

Everything slow runs in a few threads; what waits for them is counted, and where too many wait the
next is told to come again instead of making all wait longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pinjoin.core.errors import UnknownIdError
from pinjoin.recommender import Workspace
from pinjoin.serving import answers
from pinjoin.serving.answers import Asked
from pinjoin.serving.arms import Arms
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.errors import ApiError
from pinjoin.serving.images import Picture, Pictures
from pinjoin.serving.metrics import Metrics
from pinjoin.serving.switching import Now, Switch
from pinjoin.serving.writes import NewPin, Saved, Writer, events_of, save_of, takedown_of

P = ParamSpec("P")
T = TypeVar("T")

_WAITERS = 16  # saves and takedowns that wait at once until they show


class Service:
    """Reads answer as JSON bytes. `workspace` is for threads of one's own, started by `run`.

    Coroutines raise UnknownIdError, InputError, ConfigError, StoreError, and ApiError.
    """

    def __init__(self, path: Path, config: ServeConfig) -> None:
        """Raises SnapshotError where there is nothing to serve, StoreError if the live database
        cannot be used, ConfigError for an arm without a model."""
        self.path = path
        self.config = config
        self.metrics = Metrics()
        self.arms = Arms(config.experiment, config.arms)
        self.arms.require_models(path)
        self._switch = Switch(path, config, self.metrics)
        self._writer = Writer(self._switch.store, self.metrics)
        self._pictures = Pictures()
        self._waiters = ThreadPoolExecutor(_WAITERS, thread_name_prefix="showing")
        self._threads = ThreadPoolExecutor(config.threads, thread_name_prefix="serving")
        self._waiting = 0

    @property
    def now(self) -> Now:
        """What is served now. Keep it for the length of one request, not longer."""
        return self._switch.opened.now

    @property
    def workspace(self) -> Workspace:
        """The workspace of what is served now, likewise."""
        return self.now.known

    async def start(self) -> None:
        """Answer the first requests as fast as later ones; look for new snapshots from now on."""
        await self._switch.start()

    async def close(self) -> None:
        """Let go of everything."""
        await self._switch.close()
        self._threads.shutdown()
        self._waiters.shutdown()

    def state(self) -> dict[str, Any]:
        """Whether all is well, for those who watch."""
        return self._switch.state()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in a thread. ApiError if too many wait for one."""
        if self._waiting >= self.config.most_waiting:
            message = "More requests are waiting than can be answered soon. Try again."
            raise ApiError(503, "overloaded", message, {"Retry-After": "1"})
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        finally:
            self._waiting -= 1

    async def related(self, id: str, asked: Asked, request_id: str) -> bytes:
        """What belongs next to an image."""
        asked = self._with_arm(asked)
        return await self.run(answers.related, self.now, id, asked, self.config, request_id)

    async def related_to_several(self, ids: Sequence[str], asked: Asked, request_id: str) -> bytes:
        """What belongs next to several images; those that are not known are named."""
        asked, answer = self._with_arm(asked), answers.related_to_several
        return await self.run(answer, self.now, ids, asked, self.config, request_id)

    async def related_to_board(self, id: str, asked: Asked, request_id: str) -> bytes:
        """More ideas for a board."""
        asked, answer = self._with_arm(asked), answers.related_to_board
        return await self.run(answer, self.now, id, asked, self.config, request_id)

    async def related_to_picture(self, picture: bytes, asked: Asked, request_id: str) -> bytes:
        """What looks like a picture that is not of the catalogue."""
        answer = answers.related_to_picture
        return await self.run(answer, self.now, picture, asked, request_id)

    async def pin(self, id: str) -> bytes:
        """Everything known of an image; of its pins and boards, the first."""
        return await self.run(answers.pin, self.now, id)

    async def board(self, id: str, n: int, cursor: str | None) -> bytes:
        """A board and a page of the images on it, most popular first."""
        return await self.run(answers.board, self.now, id, n, cursor)

    async def search(self, words: str, n: int, cursor: str | None) -> bytes:
        """Images of which these words are said, or whose id begins with them."""
        return await self.run(answers.search, self.now, words, n, cursor, self.config)

    async def picture(self, id: str, width: int | None) -> Picture:
        """The picture of an image."""
        return await self.run(self._pictures.find, self.now, id, width)

    async def save(self, pin: NewPin, key: str) -> Saved:
        """Save a pin: durable, and part of all answers of this process, when this returns."""
        submission, saved, refused = await self._prepare(save_of, pin, key)
        if refused is not None and not await self._writer.knows(key):
            raise refused
        receipt = await self._writer.submit(submission)
        await self._show(receipt.sequence)
        return replace(saved, sequence=receipt.sequence, repeated=receipt.repeated)

    async def take_down(self, kind: str, id: str, user: str | None = None) -> int:
        """Take a pin, board or image down for ever; the sequence of it."""
        submission = await self._prepare(takedown_of, kind, id, user)
        receipt = await self._writer.submit(submission)
        await self._show(receipt.sequence)
        return receipt.sequence

    async def events(self, given: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
        """Store the good ones of a batch of events, and say what is wrong with the others."""
        submission, problems = await self.run(events_of, given, key)
        answer: dict[str, Any] = {"stored": 0, "repeated": False, "rejected": problems}
        if submission is not None:
            receipt = await self._writer.submit(submission)
            answer |= {"stored": len(submission.changes), "repeated": receipt.repeated}
        return answer

    def _with_arm(self, asked: Asked) -> Asked:
        chosen = self.arms.choose(self.path, asked.wishes.model, asked.user)
        return replace(asked, wishes=replace(asked.wishes, model=chosen.model), chosen=chosen)

    async def _prepare(self, make: Callable[..., T], *given: Any) -> T:
        """What to store, of a catalogue that has all that other processes stored before."""
        try:
            return await self.run(make, self.now, *given)
        except UnknownIdError:
            await self._show(await self._writer.last())
            return await self.run(make, self.now, *given)

    async def _show(self, sequence: int) -> None:
        """Have what was stored show in answers. Not in threads that rank: this only waits."""
        live = self._switch.opened.live
        if live.sequence < sequence:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._waiters, live.apply_now, sequence)
