"""The verb `export`: a run in a form that servers in other languages take."""

from __future__ import annotations

from pathlib import Path

import click

from interbert.cli.screen import Screen, verb

FOLDER = click.Path(path_type=Path)


@verb("export", examples=("interbert export onnx demo/run --out exported",))
@click.argument("form", metavar="onnx", type=click.Choice(("onnx",)))
@click.argument("run")
@click.option("--revision", help="Of a RUN that is an id on the hub.")
@click.option("--out", required=True, type=FOLDER, help="A new folder.")
def export(screen: Screen, form: str, run: str, revision: str | None, out: Path) -> None:
    """Write a run as ONNX: pair.onnx for scores, text.onnx and image.onnx for vectors of each side alone.

    In float32, for batches of any size; a README says what goes in. Each file is compared with the model's own answers
    before the folder is there.
    """
    from interbert.scoring.export import export_onnx
    from interbert.scoring.scorer import load, run_folder

    folder = run_folder(run, revision)
    done = export_onnx(load(folder), folder, out)
    line = f"{out}: pair.onnx, text.onnx, image.onnx; at most {done.largest_difference:.1e} off the model's own answers"
    screen.show({"out": str(out), "form": form, "largest_difference": done.largest_difference}, [line])
