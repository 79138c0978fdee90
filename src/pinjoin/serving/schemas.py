"""What requests and answers look like: checked on the way in, documented on the way out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pinjoin.recommender import Wishes
from pinjoin.serving.service import Asked

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
            model=self.model,
        )
        return Asked(self.n, self.cursor, self.explain, self.user, wishes)


class PageParameters(Strict):
    """Which part of a list."""

    n: int = Field(50, ge=1, description="How many on a page.")
    cursor: str | None = Field(None, max_length=100, description="What the last page gave.")


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
