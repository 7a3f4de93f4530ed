"""`weakseg predict`: masks under the images' own names, once each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import stored_run
import tiny
from PIL import Image

from pipelines import predict as stage
from pipelines import predictions
from pipelines.rounds import ready_model
from pipelines.serving.registered import Registered, fetch
from pipelines.storage import open_storage
from weakseg.codec import decode_image, encode_png, read_mask
from weakseg.datasets import Classes, LocalFiles, resize_image
from weakseg.errors import DataError, ResourceError
from weakseg.figures import overlay
from weakseg.prediction import View, segment

NAMES = ["a.png", "b/c.d.png", "b/deep/e f.jpg", "ü.tif"]
BROKEN = {"b/broken.png": b"\x89PNG\r\n\x1a\n", "empty.jpg": b"", "text.webp": b"no image"}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    return stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)[0]


@pytest.fixture(scope="session")
def uri(root: Path) -> str:
    return f"sqlite:///{root}/mlflow.db"


@pytest.fixture(scope="session")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the training size and of others, beside files that are no images."""
    with stored_run.opened(root) as (_, ledger):
        part = next(iter(ledger.pool.parts))
        pool = [row.image for row in ledger.pool.images(part, split=None)][: len(NAMES)]
    top = tmp_path_factory.mktemp("inputs")
    for number, (name, image) in enumerate(zip(NAMES, pool, strict=True)):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image if number % 2 == 0 else resize_image(image, (90, 70))).save(path)
    for name, data in BROKEN.items():
        (top / name).write_bytes(data)
    (top / "notes.txt").write_text("not looked at")
    return top


@pytest.fixture(scope="session")
def predicted(ray_session: str, folder: Path, uri: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder predicted once, through the command line; the output and the JSON line."""
    output = tmp_path_factory.mktemp("predicted") / "out"
    return output, command(folder, output, uri, ray_session, "--probabilities", "--overlays")


def command(folder: Path, output: Path, uri: str, address: str, *options: str) -> dict[str, Any]:
    arguments = ["--model", "models:/scenes@champion", "--input", str(folder), "--output", str(output), "--json"]
    finished = subprocess.run(
        [sys.executable, "-m", "pipelines", "predict", *arguments, *options],
        env={**os.environ, "RAY_ADDRESS": address, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert "quarantined: empty.jpg: the file is empty" in finished.stdout
    return json.loads(finished.stdout.strip().splitlines()[-1])


def call(folder: Path | str, output: Path | str, uri: str, **options: Any) -> dict[str, Any]:
    tile = options.pop("tile", None)
    given = {"tracking_uri": uri, "gpu": False, **options}
    return stage.predict("models:/scenes@champion", str(folder), str(output), tile, tiny.console(), **given)


def files(output: Path) -> list[str]:
    return sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())


@pytest.mark.ray
def test_the_outputs_have_the_images_names_and_the_pyfuncs_content(
    predicted: tuple[Path, Any], folder: Path, root: Path
) -> None:
    output, _ = predicted
    stems = ["a", "b/c.d", "b/deep/e f", "ü"]
    parts = [name for name in files(output) if name.startswith("parts/")]
    expected = [f"masks/{stem}.png" for stem in stems] + [f"overlays/{stem}.png" for stem in stems]
    expected += [f"probabilities/{stem}.npy" for stem in stems]
    expected += ["classes.yaml", "predictions.json", "predictions.parquet", *parts]
    assert files(output) == sorted(expected)
    classes = Classes.from_yaml(output / "classes.yaml")
    model = mlflow.pyfunc.load_model(str(stored_run.stored_model(root)))
    frame = pd.DataFrame({"image": [(folder / name).read_bytes() for name in NAMES]})
    answers = model.predict(frame, params={"probabilities": True})
    for stem, name, mask, probs in zip(stems, NAMES, answers["mask"], answers["probabilities"], strict=True):
        given_HW = read_mask((output / f"masks/{stem}.png").read_bytes())
        np.testing.assert_array_equal(given_HW, read_mask(mask))
        assert (output / f"probabilities/{stem}.npy").read_bytes() == probs
        image = decode_image((folder / name).read_bytes())
        painted = decode_image((output / f"overlays/{stem}.png").read_bytes())
        np.testing.assert_array_equal(painted, overlay(image, given_HW, classes.colors))
        with Image.open(output / f"masks/{stem}.png") as palette:
            assert palette.mode == "P"
            shown = np.asarray(palette.convert("RGB"))
        np.testing.assert_array_equal(shown, np.array(classes.colors, np.uint8)[given_HW])


@pytest.mark.ray
def test_the_list_names_sizes_shares_and_errors(predicted: tuple[Path, Any], folder: Path) -> None:
    output, result = predicted
    rows = {row["name"]: row for row in pq.read_table(output / "predictions.parquet").to_pylist()}
    assert list(rows) == ["a.png", "empty.jpg", "text.webp", "ü.tif", "b/broken.png", "b/c.d.png", "b/deep/e f.jpg"]
    counts = np.zeros(6, np.int64)
    for name in NAMES:
        mask_HW = read_mask((output / predictions.mask_key(name)).read_bytes())
        assert (rows[name]["height"], rows[name]["width"], rows[name]["error"]) == (*mask_HW.shape, None)
        found = np.bincount(mask_HW.ravel(), minlength=6)
        np.testing.assert_allclose(rows[name]["shares"], found / mask_HW.size, rtol=1e-6)
        counts += found
    for name in BROKEN:
        assert rows[name]["error"]
        assert rows[name]["shares"] is None
    assert (result["images"], result["predicted"]) == (7, 4)
    assert result["model"] == "models:/scenes/1"
    assert {row["name"] for row in result["quarantined"]} == set(BROKEN)
    np.testing.assert_allclose(list(result["shares"].values()), counts / counts.sum(), rtol=1e-5)


@pytest.mark.ray
def test_what_is_there_is_not_predicted_again(ray_session: str, folder: Path, uri: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = call(folder, output, uri)
    whole = {name: (output / name).read_bytes() for name in files(output)}
    assert call(folder, output, uri)["predicted"] == 0
    # Killed in the middle of a chunk: a mask, its chunk's rows and the list are not there.
    (output / "masks/b/c.d.png").unlink()
    for path in (output / "parts").iterdir():
        path.unlink()
    (output / "predictions.parquet").unlink()
    kept = (output / "masks/a.png").stat().st_mtime_ns
    again = call(folder, output, uri)
    assert again["predicted"] == 1
    assert (output / "masks/a.png").stat().st_mtime_ns == kept
    assert {name: (output / name).read_bytes() for name in files(output)} == whole
    assert {**again, "predicted": 0, "seconds": 0} == {**first, "predicted": 0, "seconds": 0}
    # An overlay that was not asked for before: all are looked at again.
    assert call(folder, output, uri, overlays=True)["predicted"] == len(NAMES)
    assert {name: (output / name).read_bytes() for name in files(output) if "overlays" not in name} == whole


@pytest.mark.ray
def test_large_images_of_a_model_of_tiles_are_seen_in_windows(
    ray_session: str, root: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fetch("models:/scenes@champion", uri)
    tiles = Registered(**{**vars(found), "view": View(window=stored_run.SIZE)})
    monkeypatch.setattr(stage, "fetch", lambda *_: tiles)
    rng = np.random.default_rng(0)
    image = resize_image(rng.integers(0, 256, (10, 14, 3), dtype=np.uint8), (130, 170))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "large.png").write_bytes(encode_png(image))
    model = ready_model(found.spec, found.weights)
    for options, view in (
        ({}, View(window=stored_run.SIZE)),
        ({"tile": (96, 96), "overlap": 32}, View(window=(96, 96), overlap=32)),
    ):
        output = tmp_path / f"out-{len(options)}"
        call(tmp_path / "in", output, uri, **options)
        (expected,) = segment(model, [image], view=view)
        np.testing.assert_array_equal(read_mask((output / "masks/large.png").read_bytes()), expected.mask)
    with pytest.raises(ResourceError, match="predictions made with.*name another folder"):
        call(tmp_path / "in", tmp_path / "out-0", uri, tile=(96, 96))


@pytest.mark.ray
@pytest.mark.s3
def test_from_bucket_to_bucket(ray_session: str, folder: Path, uri: str, s3_root: str, root: Path) -> None:
    source = open_storage(f"{s3_root}/photos")
    names = [NAMES[0], NAMES[2]]
    for name in [*names, "empty.jpg"]:
        source.write_bytes(name, (folder / name).read_bytes())
    output = f"{s3_root}/out"
    found = call(source.root, output, uri)
    assert (found["images"], found["predicted"]) == (3, 2)
    assert [row["name"] for row in found["quarantined"]] == ["empty.jpg"]
    storage = open_storage(output)
    model = mlflow.pyfunc.load_model(str(stored_run.stored_model(root)))
    answers = model.predict(pd.DataFrame({"image": [(folder / name).read_bytes() for name in names]}))["mask"]
    for name, mask in zip(names, answers, strict=True):
        np.testing.assert_array_equal(read_mask(storage.read_bytes(predictions.mask_key(name))), read_mask(mask))
    assert storage.read_table("predictions.parquet").num_rows == 3
    assert call(source.root, output, uri)["predicted"] == 0
    with pytest.raises(DataError, match="masks would be taken for images"):
        call(source.root, f"{source.root}/out", uri)


class Unshared(LocalFiles):
    """A folder that other machines do not have."""

    def __reduce__(self) -> tuple[type[LocalFiles], tuple[str]]:
        return LocalFiles, ("/no/such/folder",)


@pytest.mark.ray
def test_a_folder_that_a_node_does_not_have_is_no_folder_of_bad_images(
    ray_session: str, folder: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "open_inputs", lambda place: Unshared(place))
    with pytest.raises(ResourceError, match=r"^--input: there is no folder /no/such/folder on node \S+; use one .*$"):
        call(folder, tmp_path / "out", uri)
    assert not (tmp_path / "out" / "predictions.parquet").exists()


@pytest.mark.parametrize(
    ("machines", "actors", "gpu", "told"),
    [
        ([{"CPU": 8.0, "GPU": 1.0}], 2, True, "--gpu: 2 actors need a GPU each, the cluster has 1; lower --actors, or"),
        (
            [{"CPU": 4.0}],
            3,
            False,
            "--actors: 3 with 2 CPUs each (for the 2 threads that it was checked with) do not fit",
        ),
        ([{"CPU": 1.0}], 1, False, "--actors: 1 with 1 CPUs each leave no CPU"),
        ([{"CPU": 4.0}], 2, False, "--actors: 2 with 2 CPUs each leave no CPU"),
    ],
)
def test_what_does_not_fit_is_told_in_the_commands_words(
    uri: str, monkeypatch: pytest.MonkeyPatch, machines: list[dict[str, float]], actors: int, gpu: bool, told: str
) -> None:
    monkeypatch.setattr(stage.resources, "machines", lambda: machines)
    model = checked_with(2)
    plan = stage._plan(model, actors=actors, gpu=gpu, uri=uri)
    plan = stage._reserving(plan, stage.resources.most_cpus(plan), tiny.console())
    (fault,) = stage.resources._capacity_faults(plan, stage._names(model))
    assert fault.startswith(told)
    assert "cluster." not in fault


@pytest.mark.parametrize(
    ("machines", "reserved"),
    [
        ([{"CPU": 2.0}], 1),
        ([{"CPU": 4.0}], 3),
        ([{"CPU": 8.0}], 7),
        ([{"CPU": 9.0}], 8),
        ([{"CPU": 4.0}, {"CPU": 6.0}], 6),
        ([{"CPU": 0.0}, {"CPU": 16.0}], 8),
        ([{"CPU": 4.0, "GPU": 1.0}, {"CPU": 16.0}], 4),
    ],
)
def test_a_model_checked_with_more_threads_than_a_machine_has_cpus_still_predicts(
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    machines: list[dict[str, float]],
    reserved: int,
) -> None:
    monkeypatch.setattr(stage.resources, "machines", lambda: machines)
    monkeypatch.setattr("pipelines.resources.total", lambda name: sum(node.get(name, 0.0) for node in machines))
    model = checked_with(8)
    plan = stage._plan(model, actors=1, gpu=None, uri=uri)
    plan = stage._reserving(plan, stage.resources.most_cpus(plan), tiny.console())
    assert plan.cluster.cpus_per_worker == reserved
    assert not list(stage.resources._capacity_faults(plan, stage._names(model)))
    told = f"the model was checked with 8 threads and predicts with as many, on the {reserved} CPUs that there are"
    assert capsys.readouterr().out.splitlines() == ([] if reserved == 8 else [told])


def test_actors_compute_on_the_threads_that_the_model_was_checked_with(
    root: Path, uri: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def over_parts(config: Any, *_: Any, threads: int) -> list[Any]:
        seen.update(threads=threads, cpus=config.cluster.cpus_per_worker)
        return []

    found = fetch("models:/scenes@champion", uri)
    monkeypatch.setattr(stage, "fetch", lambda *_: Registered(**{**vars(found), "threads": 8}))
    monkeypatch.setattr(stage, "over_parts", over_parts)
    monkeypatch.setattr(stage.ray, "put", lambda value: value)
    monkeypatch.setattr(stage.predictions, "summarise", lambda *_: {"images": 0, "quarantined": [], "shares": {}})
    monkeypatch.setattr(stage.resources, "machines", lambda: [{"CPU": 3.0}])
    for name in ("connect", "check"):
        monkeypatch.setattr(stage.resources, name, lambda *_, **__: None)
    call(folder, tmp_path / "out", uri)
    assert seen == {"threads": 8, "cpus": 2}


def checked_with(threads: int) -> Registered:
    return Registered("scenes", 1, {}, b"", Classes(("a", "b"), ((0, 0, 0), (9, 9, 9))), View(), threads=threads)


def test_what_actors_are_refused_is_told_in_the_commands_words(
    folder: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise ResourceError("storage.root s3://b: access denied")

    monkeypatch.setattr(stage, "run", refused)
    for name in ("connect", "check"):
        monkeypatch.setattr(stage.resources, name, lambda *_, **__: None)
    monkeypatch.setattr(stage.resources, "machines", lambda: [{"CPU": 3.0}])
    with pytest.raises(ResourceError, match="^--output s3://b: access denied$"):
        call(folder, tmp_path / "out", uri)


class TestRefusals:
    """All of them come before Ray is started."""

    @pytest.fixture(autouse=True)
    def _without_ray(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stage.resources, "connect", lambda *_, **__: pytest.fail("Ray would be started"))

    def test_windows_for_a_model_of_resized_images(self, folder: Path, uri: str, tmp_path: Path) -> None:
        with pytest.raises(ResourceError, match=r"resized to 48x64 .* leave them out"):
            call(folder, tmp_path / "out", uri, tile=(32, 32))

    def test_an_overlap_that_does_not_fit(self) -> None:
        with pytest.raises(ResourceError, match="--tile, --overlap: overlap must be from 0 to below 8"):
            stage.with_windows(View(window=(8, 9)), tile=None, overlap=8)

    def test_no_images(self, uri: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        with pytest.raises(DataError, match="holds no images"):
            call(tmp_path / "in", tmp_path / "out", uri)
        assert not (tmp_path / "out").exists()

    def test_no_input(self, uri: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such folder"):
            call(tmp_path / "in", tmp_path / "out", uri)

    def test_an_output_inside_the_input(self, folder: Path, uri: str) -> None:
        for output in (folder, folder / "b" / "out"):
            with pytest.raises(DataError, match="masks would be taken for images"):
                call(folder, output, uri)

    def test_an_output_that_is_a_file(self, folder: Path, uri: str, tmp_path: Path) -> None:
        (tmp_path / "out").touch()
        with pytest.raises(ResourceError, match="--output") as refused:
            call(folder, tmp_path / "out", uri)
        assert "storage.root" not in str(refused.value)

    def test_a_server_that_does_not_answer(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ResourceError, match=r"--tracking-uri: http://127.0.0.1:9: no MLflow server answers"):
            call(folder, tmp_path / "out", "http://127.0.0.1:9")


def test_a_name_that_is_no_key_stays_out_of_the_output(tmp_path: Path) -> None:
    """On Linux a file may be called so; on another system it would climb out of the folder."""
    storage = open_storage(tmp_path / "out")
    for name in ("..\\..\\evil.png", "../evil.png"):
        with pytest.raises(ValueError, match="leave the root"):
            storage.exists(predictions.mask_key(name))


def test_chunks_feed_every_actor_and_are_not_too_many() -> None:
    assert [predictions.chunk_size(images, 2) for images in (1, 9, 300, 40_000, 1_000_000)] == [1, 2, 32, 40, 256]


def test_other_images_make_no_chunk_look_finished() -> None:
    assert predictions.part_key(["a", "b"]) != predictions.part_key(["a", "c"])
    assert predictions.part_key(["a", "b"]) != predictions.part_key(["ab"])
    assert predictions.part_key(["a", "b"]) == predictions.part_key(["a", "b"])
