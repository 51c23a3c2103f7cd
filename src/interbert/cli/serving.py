"""The verb that serves an index over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from interbert.cli.screen import Screen, precision_option, verb

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)


@verb(
    "serve",
    examples=(
        "interbert serve demo/index",
        "interbert serve index --host 0.0.0.0 --port 80 --api-keys keys.txt",
        "interbert serve index --images catalogue --image-host pictures.example.com",
    ),
)
@click.argument("index", type=FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="Which address of this machine; 0.0.0.0 is all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--store", metavar="postgresql://…", help="The server that has the index.  [default: as INDEX says]")
@click.option("--images", type=FOLDER, help="What the catalogue's pictures lie in.  [default: where they were]")
@click.option("--api-keys", type=FILE, help="A file of keys, one a line: only who has one is let in.")
@click.option("--image-host", "hosts", multiple=True, help="From there pictures are fetched by address; none else.")
@click.option("--other", "others", multiple=True, metavar="NAME=PATH", help="Another service, to compare on the page.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1), help="Requests computed together.")
@click.option("--queue", default=256, show_default=True, type=click.IntRange(1), help="Requests that may wait.")
@click.option("--time-limit", default=30.0, show_default=True, type=click.FloatRange(0.1), help="Seconds a request.")
@click.option("--threads", type=click.IntRange(1), help="That compute.  [default: one a core]")
@click.option("--log-requests", is_flag=True, help="A line of JSON on stderr for each, without what was asked.")
@precision_option
@click.option("--raw", is_flag=True, help="Scores as the model gives them, also where the run is calibrated.")
@click.option("--from", "run", help="The model the index was made with.  [default: where it was then]")
@click.option("--revision", help="Of an id on the hub.")
def serve(
    screen: Screen,
    index: Path,
    host: str,
    port: int,
    store: str | None,
    images: Path | None,
    api_keys: Path | None,
    hosts: tuple[str, ...],
    others: tuple[str, ...],
    batch: int,
    queue: int,
    time_limit: float,
    threads: int | None,
    log_requests: bool,
    precision: str,
    raw: bool,
    run: str | None,
    revision: str | None,
) -> None:
    """An index as a web page and an HTTP API.

    Until it is stopped: Ctrl-C or SIGTERM answers what was asked, and ends. A change of the index is seen at the next
    request. Needs the extra [serve]; sizes, limits and how it stands behind a proxy are in docs/operations.md.
    """
    from interbert.recall.service.footprint import bound_footprint

    bound_footprint()
    try:
        from interbert.recall.service.app import make_app
        from interbert.recall.service.live import LiveIndex
        from interbert.recall.service.server import bound, opened
        from interbert.recall.service.server import serve as serve_until_stopped
        from interbert.recall.service.settings import Settings, read_keys
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is missing; give  pip install 'interbert[serve]'") from error
    from interbert.workers import threads as computing

    settings = Settings(
        max_batch=batch,
        max_queue=queue,
        time_limit_seconds=time_limit,
        key_digests=() if api_keys is None else read_keys(api_keys),
        image_hosts=hosts,
        images=images,
        others=tuple(_other(one) for one in others),
    )
    with bound(host, port) as listening, computing(threads):
        door = make_app(LiveIndex(index, run, revision, not raw, store, precision), settings, log_requests=log_requests)
        door.service.prepare()
        address, version = opened(listening), door.service.index.now().version
        screen.show({"address": address, "index_version": version}, [f"open {address}"])
        serve_until_stopped(door, listening)


def _other(text: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not (name and sign and path.startswith("/")) or path.startswith("//"):
        raise click.UsageError(f"--other: got '{text}', wanted NAME=PATH with a path on this origin, as  B=/b/")
    return name, path if path.endswith("/") else path + "/"
