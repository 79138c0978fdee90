"""What requests and answers look like: checked on the way in, documented on the way out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from pinjoin.data.events import ACTIONS
from pinjoin.recommender import Wishes
from pinjoin.serving.answers import Asked
from pinjoin.serving.writes import NewPin

Id = Annotated[str, Field(min_length=1, max_length=2_000, examples=["lamp-42"])]


class Strict(BaseModel):
    """What clients send: what is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class RelatedParameters(Strict):
    """How related images are asked for."""

    n: int = Field(20, ge=1, description="How many on a page.", examples=[20])
    cursor: str | None = Field(None, max_length=100, description="What the last page gave.")
    filter: str | None = Field(
        None, max_length=65_536, description="A condition that results fulfil.",
        examples=["boards > 1"],
    )  # fmt: skip
    exclude: list[Id] = Field([], max_length=200, description="Ids that must not come.")
    explain: bool = Field(False, description="Whether to say of each result why it is there.")
    recent: list[Id] = Field([], max_length=50, description="Ids that the user looked at last.")
    q: str | None = Field(None, max_length=1_000, description="What the user searched for.")
    locale: str | None = Field(None, max_length=35, description="Of the user, as in de-AT.")
    diversity: float = Field(0.0, ge=0, le=1, description="From 0, by score alone, to 1.")
    model: str | None = Field(None, max_length=100, description="Instead of the one in use.")
    user: Id | None = Field(None, description="Decides the arm of the experiment.")

    def asked(self) -> Asked:
        """As the service takes it."""
        wishes = Wishes(
            exclude=tuple(self.exclude),
            filter=self.filter,
            diversity=self.diversity,
            recent=tuple(self.recent),
            phrase=self.q,
            locale=self.locale,
            model=self.model,
        )
        return Asked(self.n, self.cursor, self.explain, self.user, wishes)


class SeveralParameters(RelatedParameters):
    """Several images, or a board, and how what is related to them is asked for."""

    ids: list[Id] = Field([], description="Pin ids, signatures or image references.")
    board_id: Id | None = Field(None, description="In place of ids: the images on a board.")


class PictureParameters(Strict):
    """How what looks like a picture is asked for."""

    n: int = Field(20, ge=1, description="How many.", examples=[20])
    filter: str | None = Field(None, max_length=65_536, examples=["boards > 1"])
    exclude: list[Id] = Field([], max_length=200, description="Ids that must not come.")
    explain: bool = Field(False, description="Whether to say how alike each is.")

    def asked(self) -> Asked:
        """As the service takes it."""
        wishes = Wishes(exclude=tuple(self.exclude), filter=self.filter)
        return Asked(self.n, explain=self.explain, wishes=wishes)


class PageParameters(Strict):
    """Which part of a list."""

    n: int = Field(50, ge=1, description="How many on a page.")
    cursor: str | None = Field(None, max_length=100, description="What the last page gave.")


class SearchParameters(PageParameters):
    """What is looked for."""

    q: str = Field(min_length=1, max_length=1_000, description="Words, or the beginning of an id.")


class NewBoard(Strict):
    """A board to be made."""

    board_id: Id | None = Field(None, description="Left out: it gets one.")
    title: str | None = Field(None, max_length=10_000, examples=["Reading corner"])
    description: str | None = Field(None, max_length=100_000)
    category: str | None = Field(None, max_length=1_000)


class SaveIn(Strict):
    """A pin to be saved: of an image of the catalogue (id), or of another (image)."""

    id: Id | None = Field(None, description="A pin id, signature or image reference.")
    image: Id | None = Field(None, description="The path or address of an image.")
    board_id: Id | None = Field(None, description="A board that there is.")
    board: NewBoard | None = Field(None, description="A new one.")
    pin_id: Id | None = Field(None, description="Left out: it gets one.")
    title: str | None = Field(None, max_length=10_000)
    description: str | None = Field(None, max_length=100_000)
    link: str | None = Field(None, max_length=10_000)
    user_id: Id | None = None
    created_at: int | None = Field(None, description="Unix seconds; left out: now.")
    key: str | None = Field(None, min_length=1, max_length=100, description="As Idempotency-Key.")

    def pin(self) -> NewPin:
        """As the service takes it."""
        given = self.model_dump(exclude={"key", "board"})
        new_board = self.board.model_dump(exclude_none=True) if self.board else None
        return NewPin(**given, new_board=new_board)


class EventIn(BaseModel):
    """A result that was seen, or what was done to it."""

    request_id: str = Field(description="That of the answer it was in.")
    query: str
    candidate: str
    action: str = Field(description=f"One of {', '.join(ACTIONS)}.", examples=["impression"])
    position: str | int | None = Field(
        None, description='From 1 on, or "row,column". Impressions must have one.',
        examples=["3"],
    )  # fmt: skip
    device: str | None = Field(None, examples=["mobile"])
    surface: str | None = None
    user_id: str | None = None
    arm: str | None = Field(None, description="That of the answer.")
    propensity: float | None = Field(None, description="How likely it was to be shown there.")
    phrase: str | None = Field(None, description="The request's q.", examples=["red lamp"])
    locale: str | None = Field(None, description="The request's locale.", examples=["de"])
    time: int | None = Field(None, description="Unix seconds; left out: now.")


class EventsIn(Strict):
    """A batch of events. Those that cannot be used are named; the others are stored."""

    # Each is checked when it is stored: looking at all of them here, too, takes its time.
    events: list[Annotated[Any, WithJsonSchema(EventIn.model_json_schema())]] = Field(min_length=1)
    key: str | None = Field(None, min_length=1, max_length=100, description="As Idempotency-Key.")


class ImageOut(BaseModel):
    """An image of the catalogue."""

    signature: str
    pin_id: str
    image: str
    title: str | None


class QueryOut(BaseModel):
    """What is being looked at; all null for a picture from outside."""

    signature: str | None
    pin_id: str | None
    image: str | None
    title: str | None


class ResultOut(ImageOut):
    """A related image."""

    score: float | None = Field(description="Comparable within a source only.")
    source: str = Field(examples=["co-occurrence"])
    shared_boards: int
    reasons: dict[str, Any] = Field(description="Empty unless explain was true.")


class RelatedOut(BaseModel):
    """What belongs next to the query."""

    query: QueryOut
    snapshot: str
    model: str
    experiment: str | None
    arm: str | None
    request_id: str = Field(description="Goes with events about these results.")
    results: list[ResultOut]
    next_cursor: str | None


class BecauseOut(ResultOut):
    """A result for several images."""

    because: ImageOut = Field(description="Which of them it is nearest to.")


class SeveralOut(BaseModel):
    """What belongs next to several images."""

    queries: list[ImageOut]
    unknown: list[str] = Field(description="Ids that are not known; the others were used.")
    snapshot: str
    model: str
    experiment: str | None
    arm: str | None
    request_id: str
    results: list[BecauseOut]
    next_cursor: str | None


class FoundOut(BaseModel):
    """Images that words find."""

    snapshot: str
    images: list[ImageOut]
    next_cursor: str | None


class SavedOut(BaseModel):
    """A pin that is durable, and shows."""

    pin_id: str
    board_id: str | None
    sequence: int
    repeated: bool = Field(description="Whether it was so before, by the same key.")


class TakenDownOut(BaseModel):
    """It is gone from all answers of this server, durably."""

    kind: str
    id: str
    sequence: int


class RejectedOut(BaseModel):
    """An event that cannot be used."""

    place: int
    message: str


class EventsOut(BaseModel):
    """What became of a batch of events."""

    stored: int
    repeated: bool = Field(description="Whether they were so before, by the same key.")
    rejected: list[RejectedOut]


class StateOut(BaseModel):
    """Whether all is well."""

    ready: bool
    snapshot: str
    model: str
    database: str = Field(description="up, down, or none where nothing is taken in.")
    writes: bool
    problem: str | None = Field(description="Why a newer snapshot is not served, if there is one.")


class PinOut(ImageOut):
    """Everything known of an image."""

    snapshot: str
    has_picture: bool = Field(description="Whether /v1/images/{signature} has a picture.")
    n_pins: int
    n_boards: int
    pins: list[dict[str, Any]] = Field(description="The first 100.")
    boards: list[dict[str, Any]] = Field(description="The first 100.")
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    topics: list[dict[str, Any]]
    looks_like: list[dict[str, Any]]


class BoardOut(BaseModel):
    """A board and a page of the images on it."""

    snapshot: str
    board_id: str
    title: str | None
    description: str | None
    category: str | None
    n_images: int
    images: list[ImageOut]
    next_cursor: str | None


class Problem(BaseModel):
    """What is wrong."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="For programs.", examples=["unknown_id"])
    message: str = Field(description="For people.")
    request_id: str


class ErrorOut(BaseModel):
    """The shape of all errors."""

    error: Problem
