"""Where the wall time of a `demo` round goes that is neither training steps nor forward passes, by stage.

The demo runs once as it is. Then the training steps and the forward passes of its rounds are done again, alone in one
process: what a stage took beyond that is what the engine costs.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.engine import ours
from benchmarks.engine.harness import Session, Side

if TYPE_CHECKING:
    from pipelines.config import Config

STEPS = ("score", "select", "annotate", "train", "evaluate", "round")
"""Of a round, as the driver names them when they are finished; `round` is the bookkeeping after the last."""


def run(
    *, pairs: int, sizes: tuple[int, int] = (0, 3), settings: Sequence[str] = (), progress: Callable[[str], None]
) -> dict[str, Any]:
    """Measure one demo.

    Args:
        pairs: Ignored: the demo runs once.
        sizes: The second number is the number of rounds.
        settings: Further `section.field=value` of the demo.
        progress: Called with one line at the end.

    Returns:
        `rounds`: per round, by stage, seconds of wall time in all (`wall`), of training steps or forward passes
        (`compute`) and the rest (`rest`); `rest`: the sum over stages, mean over rounds; `whole`: of the command.
    """
    with tempfile.TemporaryDirectory(prefix="weakseg-bench-") as folder:
        side = Side(f"{__name__}:demo", {"folder": folder, "settings": list(settings)})
        with Session(side, Path(folder) / "log", settle=0.0) as session:
            found: dict[str, Any] = session.run(sizes[1]).result
    rounds = found["rounds"]
    rest = sum(stage["rest"] for stages in rounds for stage in stages.values()) / len(rounds)
    wall = sum(stage["wall"] for stages in rounds for stage in stages.values()) / len(rounds)
    progress(f"a round of the demo: {wall:.1f} s, {rest:.1f} s of it neither training steps nor forward passes")
    return {"rounds": rounds, "wall": wall, "rest": rest, "before": found["before"], "after": found["after"]}


@contextmanager
def demo(folder: str, settings: list[str]) -> Iterator[Callable[[int], dict[str, Any]]]:
    """The demo in this process, with a watch held at every step that its driver reports."""
    with ours.ray_started():
        from pipelines import active, select
        from pipelines.config import load

        def work(size: int) -> dict[str, Any]:
            root = Path(folder) / "storage"
            config = load("demo", [f"storage.root={root}", f"labelling.rounds={size}", *settings])
            marks: list[tuple[str, int, float]] = []
            begun: list[float] = []
            first_step = select.run

            def selected(*arguments: Any, **options: Any) -> Any:
                begun.append(time.monotonic())
                return first_step(*arguments, **options)

            started = time.monotonic()
            with (
                mock.patch.object(active, "step_finished", lambda *step: marks.append((*step, time.monotonic()))),
                mock.patch.object(select, "run", selected),
            ):
                active.active(config, ours.console())
            ended = time.monotonic()
            return stages(marks, begun[0], _compute(config, size), started=started, ended=ended)

        yield work


def _compute(config: "Config", rounds: int) -> list[dict[str, float]]:
    """Seconds of training steps and forward passes of a finished run's rounds, done again in this process."""
    import torch
    from safetensors.torch import load as load_weights

    from pipelines.examples import PoolExamples
    from pipelines.ledger import Ledger
    from pipelines.storage import open_storage
    from pipelines.train import augmentation
    from weakseg import models, seeding, training
    from weakseg.inference import logits
    from weakseg.supervision import PointIndex

    torch.set_num_threads(1)
    ledger = Ledger.read(open_storage(config.storage.root), config.run)
    pool, settings = ledger.pool, config.training

    def forward(round: int, split: str) -> float:
        folder = ledger.round(round)
        weights = load_weights(ledger.read_bytes(f"{folder}/model.safetensors"))
        model = models.load(ledger.read_json(f"{folder}/model.json"), weights).eval()
        images = [row.image for part in pool.index(split).parts() for row in pool.images(part, split=split)]
        started = time.monotonic()
        for _ in logits(model, images):
            pass
        return time.monotonic() - started

    def steps(round: int) -> float:
        index = pool.index("train")
        examples = PoolExamples(pool, "train", points=PointIndex(index.image_ids, ledger.labels(round)))
        seeding.seed_everything(config.seed, "model", round=round)
        chosen = config.model.model_dump(include={"architecture", "encoder", "weights", "mean", "std"})
        model = models.build_model(**chosen, classes=len(pool.classes))
        fields = {"lr", "encoder_lr", "weight_decay", "eps", "momentum"}
        optimizer = training.build_optimizer(model, name=settings.optimizer, **settings.model_dump(include=fields))
        count = training.steps_per_epoch(len(index), settings.batch_size)
        schedule = settings.schedule.model_dump()
        spent: list[float] = []
        training.fit(
            model,
            examples,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            optimizer=optimizer,
            scheduler=training.build_scheduler(optimizer, **schedule, epochs=settings.epochs, steps_per_epoch=count),
            loss_weights={"point": config.loss.point},
            augmentation=augmentation(config, pool),
            seed=config.seed,
            round=round,
            on_epoch=lambda result: spent.append(result.seconds),
        )
        return sum(spent)

    return [
        {
            "train": steps(round),
            "evaluate": forward(round, "val"),
            **({"score": forward(round - 1, "train")} if round > 0 else {}),
        }
        for round in range(rounds)
    ]


def stages(
    marks: Sequence[tuple[str, int, float]],
    begun: float,
    compute: Sequence[dict[str, float]],
    *,
    started: float,
    ended: float,
) -> dict[str, Any]:
    """Time between steps, by round.

    Args:
        marks: Step, round and time at which it was finished, in order.
        begun: When the first round began.
        compute: Per round, seconds of training steps and forward passes by step.
        started: When the command began.
        ended: When it ended.

    Returns:
        `rounds`, `before` (start-up and `prepare`) and `after` (test, register, report).
    """
    rounds: list[dict[str, dict[str, float]]] = []
    last = begun
    for step, round, moment in marks:
        if step not in STEPS:
            continue
        if round == len(rounds):
            rounds.append({})
        spent = compute[round].get(step, 0.0)
        rounds[round][step] = {"wall": moment - last, "compute": spent, "rest": moment - last - spent}
        last = moment
    return {"rounds": rounds, "before": begun - started, "after": ended - last}
