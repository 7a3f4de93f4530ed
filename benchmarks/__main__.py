"""`python -m benchmarks engine NAME...` and `python -m benchmarks study NAME`."""

import os

# Before anything imports ray or torch, and inherited by every process that is measured.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="What the engine costs beside plain code, and what the methods are worth.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def engine(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Which, or all.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one line of JSON, last.")] = False,
    pairs: Annotated[int, typer.Option(min=1, help="How often each side of a comparison runs.")] = 7,
    sizes: Annotated[
        tuple[int, int] | None, typer.Option(help="Small and large size in place of each benchmark's own.")
    ] = None,
    save: Annotated[bool, typer.Option(help="Keep the figures in benchmarks/results/engine.json.")] = True,
) -> None:
    """Measure the engine: prepare, train, score, predict, losses, memory, plan, round, sweep, annotation, or all."""
    from benchmarks.engine import table

    unknown = set(names) - {*table.BENCHMARKS, "all"}
    if unknown:
        known = ", ".join([*table.BENCHMARKS, "all"])
        raise typer.BadParameter(f"unknown benchmark {', '.join(sorted(unknown))}; known: {known}")
    chosen = list(table.BENCHMARKS) if "all" in names else list(dict.fromkeys(names))
    if sizes is not None and len(chosen) > 1:
        raise typer.BadParameter("--sizes is for one benchmark: images for one are epochs for another")
    results = table.measure(chosen, pairs=pairs, sizes=sizes, progress=lambda line: typer.echo(line, err=True))
    typer.echo(table.text(results))
    if save:
        table.save(results)
    if as_json:
        typer.echo(json.dumps(results))


@app.command()
def study(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="acquisition, coarse, spss, spss-noise, spss-clusters or mixed")
    ],
    seeds: Annotated[
        str, typer.Option(metavar="0,1,...", help="Paired seeds; the first makes the choices made on one seed.")
    ] = "0,1,2",
    data: Annotated[
        Path | None, typer.Option(help="The data's folder: CamVid's, else $CAMVID; of spss Dubai's, else $DUBAI.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="SqueezeNet's weights; else $WEAKSEG_SQUEEZENET.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where runs and logs are kept; else weakseg-data/study-NAME.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Where the figures go; else benchmarks/results/NAME.json.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="For every run; to try it out.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Run nothing: figures, plot and table of the runs so far.")
    ] = False,
) -> None:
    """Compare methods over seeds; may be killed at any time, and the same command goes on."""
    from benchmarks.studies.known import STUDIES
    from benchmarks.studies.runs import StudyError
    from benchmarks.studies.study import run

    if name not in STUDIES:
        raise typer.BadParameter(f"unknown study {name}; known: {', '.join(STUDIES)}")
    try:
        chosen = tuple(int(seed) for seed in seeds.replace(",", " ").split())
    except ValueError as error:
        raise typer.BadParameter(f"expected whole numbers such as 0,1,2, got {seeds}") from error
    for variable, path in ((STUDIES[name].data, data), ("WEAKSEG_SQUEEZENET", weights)):
        if path is not None:
            os.environ[variable] = str(path.resolve())
    try:
        text = run(
            STUDIES[name],
            seeds=chosen,
            root=root,
            results=results,
            settings=tuple(settings or ()),
            progress=lambda line: print(line, flush=True),
            report=report,
        )
    except StudyError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    typer.echo(text)


if __name__ == "__main__":
    app()
