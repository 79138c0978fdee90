"""What ranks a new snapshot: learned from its boards, unless somebody chose otherwise."""

from __future__ import annotations

from pathlib import Path

from pinjoin.core.errors import InputError, PinjoinError
from pinjoin.core.progress import Progress
from pinjoin.ranker import learned_from_boards
from pinjoin.ranking.store import COUNT, current_model, load_model, save_model
from pinjoin.recommender import open_workspace
from pinjoin.training.from_boards import train_from_boards


def train_after_build(workspace: Path, snapshot: str, progress: Progress) -> str | None:
    """Learn to rank a snapshot from its boards: the model's name; None where they are too few.

    It ranks from now on, unless a model trained on logs, or the number of shared boards, was
    chosen. (`ranker.open_ranker` says what ranks where a chosen one does not fit.)
    """
    opened = open_workspace(workspace, snapshot, model=COUNT)
    name = learned_from_boards(snapshot)
    try:
        model = train_from_boards(opened, name=name, progress=progress)
    except InputError:
        return None
    save_model(workspace, model, use=not _is_chosen(workspace))
    return name


def _is_chosen(workspace: Path) -> bool:
    """Whether somebody chose the order in use."""
    current = current_model(workspace)
    if current is None or current == COUNT:
        return current == COUNT
    try:
        return load_model(workspace, current).about.trained_on != "boards"
    except PinjoinError:
        return False
