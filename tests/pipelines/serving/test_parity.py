import sys
from pathlib import Path

import numpy as np
import pytest
import stored_run
import torch
from safetensors.torch import load as load_weights

from pipelines.serving import parity
from weakseg.codec import decode_image
from weakseg.inference import predict
from weakseg.models import load


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    return stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)[0]


def stored(root: Path) -> str:
    return str(stored_run.stored_model(root))


def test_sample_is_spread_over_the_validation_split(root: Path) -> None:
    with stored_run.opened(root) as (_, ledger):
        index = ledger.pool.index("val")
        images = parity.sample(ledger.pool)
        assert next(iter(images)) == index.image_ids[0].as_py()
        assert list(images)[-1] == index.image_ids[-1].as_py()
        assert set(images) <= set(index.image_ids.to_pylist())
        rows = {row.image_id: row.image for part in index.parts() for row in ledger.pool.images(part, split="val")}
        for image_id, data in images.items():
            np.testing.assert_array_equal(decode_image(data), rows[image_id])


def test_masks_are_those_of_inference(root: Path) -> None:
    with stored_run.opened(root) as (_, ledger):
        images = list(parity.sample(ledger.pool).values())
        spec, weights = ledger.read_json("rounds/000/model.json"), ledger.read_bytes("rounds/000/model.safetensors")
        before = torch.get_num_threads()
        given = parity.masks(spec, weights, images, 1)
        assert torch.get_num_threads() == before
        expected = predict(load(spec, load_weights(weights)), map(decode_image, images))
        for given_HW, expected_HW in zip(given, expected, strict=True):
            np.testing.assert_array_equal(given_HW, expected_HW)


def test_the_rounds_own_model_passes_and_leaves_the_import_path(root: Path) -> None:
    with stored_run.opened(root) as (plan, ledger):
        path = list(sys.path)
        parity.check(plan, ledger, 1, stored(root), parity.sample(ledger.pool))
        assert sys.path == path


def test_another_model_is_refused_by_image_and_share(root: Path) -> None:
    with (
        stored_run.opened(root) as (plan, ledger),
        pytest.raises(RuntimeError, match=r"% of the pixels of .* are equal"),
    ):
        parity.check(plan, ledger, 0, stored(root), parity.sample(ledger.pool))


class Remote:
    """Stands for a Ray task on a node with a GPU."""

    def __init__(self, function):
        self.remote = function

    def options(self, **options):
        return self


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline has GPUs, for which this machine's CPU stands in."""
    masks = parity.masks
    monkeypatch.setattr(parity, "use_gpu", lambda config: True)
    monkeypatch.setattr(parity, "masks", lambda *arguments, device: masks(*arguments))
    monkeypatch.setattr(parity.ray, "remote", lambda **needs: Remote)
    monkeypatch.setattr(parity.ray, "get", lambda result: result)


def test_one_pixel_of_a_thousand_is_forgiven_across_devices_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = parity.masks

    def changed(count: int):
        def other(*arguments):
            results = [mask_HW.copy() for mask_HW in masks(*arguments)]
            results[0].ravel()[:count] += 1
            return results

        return other

    with stored_run.opened(root) as (plan, ledger):
        images = parity.sample(ledger.pool)
        monkeypatch.setattr(parity, "masks", changed(3))  # of 48 x 64 = 3072
        with pytest.raises(RuntimeError, match="expected all"):
            parity.check(plan, ledger, 1, stored(root), images)
        elsewhere(monkeypatch)
        parity.check(plan, ledger, 1, stored(root), images)
        monkeypatch.setattr(parity, "masks", changed(4))
        elsewhere(monkeypatch)
        with pytest.raises(RuntimeError, match=r"expected at least 99\.9%"):
            parity.check(plan, ledger, 1, stored(root), images)


def test_a_gpu_elsewhere_is_asked_in_full_precision(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def precision() -> tuple[bool, str]:
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

    masks, seen = parity.masks, []

    def watched(*arguments):
        seen.append(precision())
        return masks(*arguments)

    monkeypatch.setattr(parity, "masks", watched)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with stored_run.opened(root) as (plan, ledger):
            images = parity.sample(ledger.pool)
            parity.check(plan, ledger, 1, stored(root), images)
            elsewhere(monkeypatch)
            parity.check(plan, ledger, 1, stored(root), images)
        # On this CPU the stored model runs in the same process: both round alike.
        assert seen == [(True, "high"), (False, "highest")]
        assert precision() == (True, "high")
    finally:
        torch.set_float32_matmul_precision(before)
