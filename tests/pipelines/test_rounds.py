from pathlib import Path

import numpy as np
import pytest
import stored_run

from pipelines.pool import Pool
from pipelines.rounds import choose_round, finished_rounds, round_model
from pipelines.serving import parity
from weakseg.codec import decode_image
from weakseg.inference import predict


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rounds")
    stored_run.write(root)
    return root


@pytest.mark.parametrize(
    ("miou", "chosen"),
    [
        ([0.1, 0.3, 0.2], 1),
        ([0.3, 0.3, 0.2], 1),
        ([0.3, None, 0.2], 0),
        ([None, None], 1),
        ([0.0, None], 0),
        ([0.5], 0),
    ],
)
def test_the_best_round_is_chosen_and_of_equals_the_last(miou: list[float | None], chosen: int) -> None:
    rounds = [{"round": k, "validation": None if value is None else {"miou": value}} for k, value in enumerate(miou)]
    assert choose_round(rounds) == chosen


def test_without_masks_the_best_estimate_is_chosen() -> None:
    rounds = [{"round": k, "validation": None, "estimate": {"accuracy": a}} for k, a in enumerate([0.5, 0.7, 0.6])]
    assert choose_round(rounds) == 1
    rounds[2]["estimate"] = None
    assert choose_round(rounds) == 1


def test_the_last_round_may_be_wanted() -> None:
    rounds = [{"round": k, "validation": {"miou": 0.5 - k / 10}} for k in range(3)]
    assert (choose_round(rounds, "last"), choose_round(rounds, "best")) == (2, 0)


def test_rounds_are_those_evaluated_in_order(root: Path) -> None:
    with stored_run.opened(root) as (_, ledger):
        assert [metrics["round"] for metrics in finished_rounds(ledger)] == [0, 1]


def test_the_model_is_that_of_the_round(root: Path) -> None:
    with stored_run.opened(root) as (_, ledger):
        pool: Pool = ledger.pool
        images = list(parity.sample(pool).values())
        masks = []
        for number in range(2):
            model = round_model(ledger, number)
            assert not model.training
            given = list(predict(model, map(decode_image, images)))
            spec = ledger.read_json(f"rounds/00{number}/model.json")
            weights = ledger.read_bytes(f"rounds/00{number}/model.safetensors")
            np.testing.assert_array_equal(given, parity.masks(spec, weights, images, 1))
            masks.append(given)
        assert (np.array(masks[0]) != np.array(masks[1])).any()
