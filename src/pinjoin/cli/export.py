"""`pinjoin export`: what a workspace holds, streamed to files others read."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def export() -> None:
    """Stream what a workspace holds to files others read."""


@export.command()
@click.argument("workspace", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-k", default=10_000, show_default=True, type=click.IntRange(1), help="Per image.")
@click.option("--score", default="count", show_default=True, help="See pinjoin.cooccurrence.")
@click.option("--min-count", default=1, show_default=True, type=click.IntRange(1))
@click.option("--max-board-pins", type=click.IntRange(1), help="Larger boards keep their best.")
@click.option("--max-pin-boards", type=click.IntRange(1), help="Busier images ask a sample.")
@click.option("--seed", default=0, show_default=True, help="Of that sample.")
@click.option("--threads", type=click.IntRange(1), help="Default: all cores.")
def candidates(
    workspace: Path,
    file: Path,
    k: int,
    score: str,
    min_count: int,
    max_board_pins: int | None,
    max_pin_boards: int | None,
    seed: int,
    threads: int | None,
) -> None:
    """Write the K best candidates of every image of WORKSPACE to FILE (Parquet).

    Columns: query, candidate (image rows), count, and score if it is another; by query, then best
    first. The table `images` beside it (FILE with .images.parquet) says which signature a row is.
    """
    from pinjoin.candidates.cooccurrence import CooccurrenceConfig
    from pinjoin.candidates.export import export_candidates
    from pinjoin.cli.kernels import announce_compilation
    from pinjoin.core.progress import reporter
    from pinjoin.recommender import open_workspace

    config = CooccurrenceConfig(score, min_count, max_board_pins, max_pin_boards, seed)
    with announce_compilation():
        opened = open_workspace(workspace)
        written = export_candidates(
            opened.incidence, file, k, config, threads=threads, progress=reporter()
        )
        images = file.with_suffix(".images.parquet")
        export_images(opened.snapshot.table("images"), images)
    click.echo(f"Wrote {written:,} candidates of {opened.n_images:,} images to {file}; "
               f"its rows are named in {images}.")  # fmt: skip


def export_images(table: object, file: Path) -> None:
    """The image rows by name, beside the exported candidates."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, file)
