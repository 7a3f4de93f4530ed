"""A driver whose work is counted, and stops where a test takes a machine away.

`python counted_driver.py FOLDER STAGE AFTER ARGUMENTS...` runs the command line with the rest of the arguments.
Every finished piece of prepare (a chunk), train (an epoch) and score (a part) leaves a line in FOLDER/work: stage,
piece, node, workers. Once STAGE has finished AFTER pieces, whoever begins its next one waits until there is a file
FOLDER/released; the first of them writes its node into FOLDER/held.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER, STAGE, AFTER = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


class Watch:
    """What the workers of every stage call; it travels to them by value."""

    def __init__(self, folder: Path, stage: str, after: int) -> None:
        self.folder, self.stage, self.after = folder, stage, after

    def begins(self, stage: str) -> None:
        """Wait here if this is the piece."""
        if stage != self.stage or sum(line.split()[0] == stage for line in self._lines()) < self.after:
            return
        import ray

        mine = self.folder / f"held-by-{os.getpid()}"
        mine.write_text(ray.get_runtime_context().get_node_id())
        try:
            os.link(mine, self.folder / "held")  # whole, and once
        except FileExistsError:
            pass
        while not (self.folder / "released").exists():
            time.sleep(0.05)

    def finished(self, stage: str, piece: int, workers: int = 1) -> None:
        """Write the piece down."""
        import ray

        line = f"{stage} {piece} {ray.get_runtime_context().get_node_id()} {workers}\n"
        descriptor = os.open(self.folder / "work", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def _lines(self) -> list[str]:
        file = self.folder / "work"
        return file.read_text().splitlines() if file.exists() else []


def main() -> None:
    """Arm every stage, then run the command line."""
    from pipelines import cli, prepare, score, train

    watch = Watch(FOLDER, STAGE, AFTER)
    attempt, scorer = prepare.attempt_chunk, score.Scorer

    def attempt_chunk(job: Any, chunk: int) -> dict[str, Any]:
        watch.begins("prepare")
        found = attempt(job, chunk)
        if found["images"]:
            watch.finished("prepare", chunk)
        return found

    class Scorer(scorer):
        def __call__(self, part: int) -> Any:
            watch.begins("score")
            found = super().__call__(part)
            watch.finished("score", part)
            return found

    def work(settings: dict[str, Any]) -> Any:
        import ray.train

        from pipelines import train_worker
        from pipelines.checkpoints import checkpoint_name, newest

        fit, context = train_worker.fit, ray.train.get_context()

        def counted(*arguments: Any, on_epoch: Callable[[Any], None], **options: Any) -> Any:
            def and_then(result: Any) -> None:
                on_epoch(result)
                # the upload runs beside the training: an epoch is finished when its checkpoint is there
                while (newest(settings["storage"], settings["folder"]) or "") < checkpoint_name(result.epoch):
                    time.sleep(0.05)
                if context.get_world_rank() == 0:
                    watch.finished("train", 100 * options["round"] + result.epoch, context.get_world_size())
                watch.begins("train")

            return fit(*arguments, on_epoch=and_then, **options)

        train_worker.fit = counted
        try:
            return train_worker.work(settings)
        finally:
            train_worker.fit = fit

    prepare.attempt_chunk, score.Scorer, train.work = attempt_chunk, Scorer, work
    train.RESIZE_SECONDS = 2.0
    sys.argv = ["weakseg", *sys.argv[4:]]
    cli.main()


if __name__ == "__main__":
    main()
