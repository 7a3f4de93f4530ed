"""`python -m pipelines VERB`, the same as `weakseg VERB`."""

import sys


def main() -> None:
    """Run the command line, or say what it takes where the library alone is installed."""
    try:
        from pipelines.cli import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("pipelines", "weakseg"):
            raise
        told = f"weakseg's commands need what the library alone does not ({error.name}): install weakseg[pipelines]"
        print(told, file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
