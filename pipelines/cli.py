"""The command line: `weakseg VERB`, the same as `python -m pipelines VERB`.

A verb reads its configuration, opens the console and calls one function. Ray, torch and MLflow are imported inside the
verbs, so that help and faults of the configuration come at once.
"""

import json
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from pipelines import signals
from pipelines.config import load
from pipelines.credentials import hidden
from pipelines.faults import users_fault
from weakseg import __version__
from weakseg.errors import WeaksegError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"weakseg {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Semantic segmentation from cheap supervision: a few labelled pixels per image, in rounds, on Ray.

    Exit codes: 0 done, 1 a fault of weakseg's or of an engine (with a traceback) or trials of a sweep that failed,
    2 what you can put right (one line each), 130 and 143 stopped by SIGINT or SIGTERM: the same command goes on.
    """


Source = Annotated[str, typer.Option("--config", metavar="RECIPE_OR_FILE", help="A recipe's name or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a setting, value in YAML; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON, last.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show the messages of Ray and MLflow too.")]


@app.command()
def demo(overrides: Overrides = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Three rounds on generated scenes, in a few minutes: `active --config demo`."""
    _run("active", "demo", overrides, as_json, verbose, ("pipelines.active", "active"))


@app.command()
def prepare(config: Source, overrides: Overrides = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Read, check and cut the images into the pool; what is there already is not made again."""
    _run("prepare", config, overrides, as_json, verbose, ("pipelines.prepare", "prepare"))


@app.command()
def train(config: Source, overrides: Overrides = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Train once from the configured supervision, then register the model and report."""
    _run("train", config, overrides, as_json, verbose, ("pipelines.active", "run_training"))


@app.command()
def active(config: Source, overrides: Overrides = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Learn in rounds from labelled pixels; the same command goes on where it was interrupted."""
    _run("active", config, overrides, as_json, verbose, ("pipelines.active", "active"))


@app.command()
def evaluate(
    config: Source,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
    model: Annotated[
        str | None, typer.Option(metavar="models:/NAME@ALIAS", help="A registered version in place of the run's model.")
    ] = None,
) -> None:
    """Judge the run's last model, or any registered one, on validation and test."""
    if model is None:
        _run("evaluate", config, overrides, as_json, verbose, ("pipelines.active", "evaluate_run"))
    else:
        _run("evaluate", config, overrides, as_json, verbose, ("pipelines.judge", "evaluate_model"), model=model)


@app.command()
def predict(
    model: Annotated[str, typer.Option(metavar="models:/NAME@ALIAS", help="A registered version.")],
    input: Annotated[str, typer.Option(metavar="DIR_OR_S3", help="Every image below it is predicted.")],
    output: Annotated[str, typer.Option(metavar="DIR_OR_S3", help="What is there already is not made again.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also float16 .npy files.")] = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Also pictures of the masks over the images.")] = False,
    tile: Annotated[
        str | None, typer.Option(metavar="H,W", help="Windows for larger images [default: the largest in training].")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="Of windows, in pixels [default: a quarter of the smaller side].")
    ] = None,
    actors: Annotated[int, typer.Option(min=1, help="Copies of the model that work at once.")] = 1,
    gpu: Annotated[
        bool | None, typer.Option("--gpu/--no-gpu", help="A GPU for each [default: where there are enough].")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow's store [default: $MLFLOW_TRACKING_URI, else ./weakseg-data/mlflow.db].")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Masks of every image below a folder by a registered model; the same command goes on where it was interrupted."""
    _carry_out(
        lambda: (model, input, output, _window(tile)),
        as_json,
        verbose,
        ("pipelines.predict", "predict"),
        probabilities=probabilities,
        overlays=overlays,
        overlap=overlap,
        actors=actors,
        gpu=gpu,
        tracking_uri=tracking_uri,
    )


@app.command()
def annotate(
    config: Source,
    host: Annotated[
        str | None, typer.Option(help="The address to listen at; others can reach all but 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes any free one.")] = None,
    export: Annotated[str | None, typer.Option(metavar="FILE", help="Write questions and answers and end.")] = None,
    take: Annotated[
        list[str] | None, typer.Option("--import", metavar="FILE", help="Take answers from a file and end.")
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Serve the page on which people answer a run's questions; or write them to a file, or take answers from one."""
    given = [*(overrides or [])]
    given += [] if host is None else [f"labelling.browser.host={host}"]
    given += [] if port is None else [f"labelling.browser.port={port}"]
    if export or take:
        _run(
            "annotate",
            config,
            given,
            as_json,
            verbose,
            ("pipelines.annotation.exchange", "exchange"),
            export=export,
            take=take,
        )
    else:
        _run("annotate", config, given, as_json, verbose, ("pipelines.annotation.serve", "annotate"))


@app.command()
def sweep(config: Source, overrides: Overrides = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Run over the settings of section `sweep`, compare, and write the best as a recipe.

    Exits with 1, all of that done, where trials failed: the same command tries them again.
    """
    result = _run("sweep", config, overrides, as_json, verbose, ("pipelines.sweep.driver", "sweep"), source=config)
    if result["trials"]["failed"]:
        raise typer.Exit(1)


@app.command()
def report(config: Source, overrides: Overrides = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Write the run's report, one HTML page, from what is there."""
    _run("report", config, overrides, as_json, verbose, ("pipelines.report", "report"))


@app.command()
def status(config: Source, overrides: Overrides = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Say where a run is: its step, owner, rounds, labels and annotation time so far."""
    _run("status", config, overrides, as_json, verbose, ("pipelines.status", "status"))


@app.command()
def config(
    config: Annotated[str | None, typer.Option("--config", metavar="RECIPE_OR_FILE", help="Which one.")] = None,
    overrides: Overrides = None,
    explain: Annotated[
        str | None, typer.Option(metavar="SECTION.FIELD", help="Say what a setting means, or a section's; or all.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print the whole configuration, with what was left out filled in; without --config the recipes there are."""
    if config is not None and explain is None:
        _run("config", config, overrides, as_json, verbose, ("pipelines.settings", "print_config"))
    else:
        _carry_out(lambda: (config, overrides, explain), as_json, verbose, ("pipelines.settings", "tell"))


def main() -> None:
    """Run the command line."""
    app()


def _run(
    verb: str,
    config_source: str,
    overrides: list[str] | None,
    as_json: bool,
    verbose: bool,
    target: tuple[str, str],
    **options: Any,
) -> dict[str, Any]:
    """Carry out a verb with its configuration."""
    return _carry_out(lambda: (load(config_source, overrides or [], verb=verb),), as_json, verbose, target, **options)


def _carry_out(
    first: Callable[[], tuple[Any, ...]], as_json: bool, verbose: bool, target: tuple[str, str], **options: Any
) -> dict[str, Any]:
    """Carry out a verb.

    Exit 0 when done, 2 when the user's input is wrong, 143 or 130 when stopped by SIGTERM or SIGINT, and 1 with a
    traceback for anything else.

    Args:
        first: Gives the function's first arguments, checked before any engine is imported.
        as_json: Whether to print what it returns.
        verbose: Whether engines may print.
        target: Module and function; it is called with these arguments, the console and the options.
        options: Its keyword arguments.

    Returns:
        What the function returned.
    """
    try:
        arguments = first()
        from pipelines.console import Console, quiet_engines

        quiet_engines(verbose)  # before Ray and MLflow are imported
        call: Callable[..., dict[str, Any]] = getattr(import_module(target[0]), target[1])
        with signals.stoppable():
            result = call(*arguments, Console(verbose=verbose), **options)
    except signals.Stopped as stopped:
        name = getattr(arguments[0], "run", target[1])
        kept = "what is finished is kept, the same command goes on from there"
        typer.echo(f"{name}: stopped by {stopped.signal.name}; {kept}", err=True)
        signals.leave(stopped.code)
    except Exception as error:
        wrong = users_fault(error)
        if wrong is None:
            told = "".join(traceback.format_exception(error))
            if hidden(told) == told:
                raise
            typer.echo(hidden(told), err=True)
            raise typer.Exit(1) from None
        for line in hidden(str(wrong)).splitlines():
            typer.echo(line, err=True)
        raise typer.Exit(2) from None
    if as_json:
        from pipelines.plain import plain

        sys.stdout.write(json.dumps(plain(result), default=str) + "\n")
        sys.stdout.flush()
    return result


def _window(text: str | None) -> tuple[int, int] | None:
    """`H,W` as numbers."""
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise WeaksegError(f"--tile: expected height,width in pixels, such as 512,512, got {text}")
    return int(parts[0]), int(parts[1])
