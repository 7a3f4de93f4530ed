"""`python -m pipelines VERB`, the same as `weakseg VERB`."""

from pipelines.cli import main

if __name__ == "__main__":
    main()
