"""What ranks a new snapshot: learned from its boards, unless somebody chose what still fits."""

from __future__ import annotations

from pathlib import Path

from pinjoin.core.errors import InputError, PinjoinError
from pinjoin.core.progress import Progress
from pinjoin.ranker import features_of
from pinjoin.ranking.store import COUNT, current_model, load_model, save_model
from pinjoin.recommender import Workspace, open_workspace
from pinjoin.training.from_boards import train_from_boards


def train_after_build(workspace: Path, snapshot: str, progress: Progress) -> str | None:
    """Learn to rank a snapshot from its boards: the model's name; None where they are too few.

    It ranks from now on, unless a model trained on logs is in use that fits the snapshot, or the
    number of shared boards was chosen.
    """
    opened = open_workspace(workspace, snapshot, model=COUNT)
    name = f"boards-{snapshot}"
    try:
        model = train_from_boards(opened, name=name, progress=progress)
    except InputError:
        return None
    save_model(workspace, model, use=not _is_chosen(opened))
    return name


def _is_chosen(opened: Workspace) -> bool:
    """Whether the order in use was chosen by somebody and fits the snapshot."""
    current = current_model(opened.path)
    if current is None or current == COUNT:
        return current == COUNT
    try:
        model = load_model(opened.path, current)
        features_of(model, opened)
    except PinjoinError:
        return False
    return model.about.trained_on != "boards"
