"""A sweep that ends itself by SIGKILL when so many trials are done: `python killed_sweep.py COUNT ARGUMENTS...`."""

import os
import signal
import sys

from pipelines import cli
from pipelines.sweep import batch


def main() -> None:
    """Run the command line with the rest of the arguments, armed."""
    wanted = int(sys.argv[1])

    def trial_finished(count: int) -> None:
        if count == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    batch.trial_finished = trial_finished
    sys.argv = ["weakseg", *sys.argv[2:]]
    cli.main()


if __name__ == "__main__":
    main()
