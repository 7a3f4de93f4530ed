import base64
import contextlib
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import stored_run
import torch
from mlflow.exceptions import MlflowException
from PIL import Image
from safetensors.torch import load as load_weights

from pipelines.pool import Pool
from pipelines.serving import parity, save
from weakseg.codec import decode_image, encode_png, read_mask
from weakseg.datasets import resize_image
from weakseg.inference import probabilities
from weakseg.models import load

WITHOUT_RAY = """
import pickle, sys
sys.modules["ray"] = sys.modules["pipelines"] = None
import mlflow.pyfunc, pandas as pd
images = pickle.load(open(sys.argv[1], "rb"))
model = mlflow.pyfunc.load_model("models:/scenes@champion")
masks = list(model.predict(pd.DataFrame({"image": images}))["mask"])
import weakseg
pickle.dump((masks, weakseg.__file__), open(sys.argv[2], "wb"))
"""


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    return stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)[0]


@pytest.fixture(scope="session")
def files(root: Path) -> dict[str, Any]:
    """The registered round's files and some encoded pool images with the pipeline's masks."""
    with stored_run.opened(root) as (plan, ledger):
        images = list(parity.sample(ledger.pool).values())
        spec = ledger.read_json("rounds/001/model.json")
        weights = ledger.read_bytes("rounds/001/model.safetensors")
        masks = parity.masks(spec, weights, images, parity.threads(plan))
        return {"spec": spec, "weights": weights, "images": images, "masks": masks, "pool": ledger.pool}


@pytest.fixture(scope="session")
def model(files: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> mlflow.pyfunc.PyFuncModel:
    """The model saved and loaded without a registry, trained at 48x64."""
    return mlflow.pyfunc.load_model(str(saved(files, tmp_path_factory.mktemp("model"), stored_run.SIZE)))


def saved(files: dict[str, Any], folder: Path, size: tuple[int, int] | None) -> Path:
    pool: Pool = files["pool"]
    save(
        folder / "model",
        weights=files["weights"],
        spec=files["spec"],
        classes=pool.classes,
        size=size,
        threads=1,
        example=files["images"][0],
    )
    return folder / "model"


def ask(model: mlflow.pyfunc.PyFuncModel, *images: bytes, **params: Any) -> pd.DataFrame:
    return model.predict(pd.DataFrame({"image": list(images)}, dtype=object), params=params or None)


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}


def test_the_pipeline_predicts_something_to_compare(files: dict[str, Any]) -> None:
    assert len(np.unique(files["masks"])) > 1
    assert len(files["images"]) >= 2


def test_a_process_without_ray_gives_the_pipelines_masks(root: Path, files: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(pickle.dumps(files["images"]))
    arguments = [sys.executable, "-c", WITHOUT_RAY, str(tmp_path / "images"), str(tmp_path / "masks")]
    subprocess.run(arguments, env=environment(root), cwd=tmp_path, check=True)
    masks, origin = pickle.loads((tmp_path / "masks").read_bytes())
    for given, expected in zip(masks, files["masks"], strict=True):
        np.testing.assert_array_equal(read_mask(given), expected)
    # The package that travels with the model, not the one installed here.
    assert Path(origin).parts[-3:] == ("code", "weakseg", "__init__.py")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks"]


def test_served_over_http(root: Path, files: dict[str, Any]) -> None:
    with serving(root) as url:
        answers = post(url, {"columns": ["image"], "data": [[b64(image)] for image in files["images"]]})
        for answer, expected in zip(answers, files["masks"], strict=True):
            assert set(answer) == {"mask"}
            np.testing.assert_array_equal(read_mask(base64.b64decode(answer["mask"])), expected)
        (answer,) = post(url, {"columns": ["image"], "data": [[b64(files["images"][0])]]}, probabilities=True)
        probs = np.load(io.BytesIO(base64.b64decode(answer["probabilities"])), allow_pickle=False)
        assert probs.shape == (6, *stored_run.SIZE)
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(url, {"columns": ["image"], "data": [[b64(b"not an image")]]})
        assert refused.value.code == 400
        assert "row 0: not an image" in json.loads(refused.value.read())["message"]


def test_the_mask_is_a_grey_png_of_indices(model: mlflow.pyfunc.PyFuncModel, files: dict[str, Any]) -> None:
    with Image.open(io.BytesIO(ask(model, files["images"][0])["mask"][0])) as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (64, 48))
        np.testing.assert_array_equal(np.asarray(mask), files["masks"][0])


def test_rows_keep_their_order_and_index(model: mlflow.pyfunc.PyFuncModel, files: dict[str, Any]) -> None:
    first, second = files["images"][:2]
    large = encode_png(resize_image(decode_image(first), (90, 70)))
    frame = pd.DataFrame({"image": [second, large, first]}, index=[7, 3, 5])
    result = model.predict(frame)
    assert list(result.index) == [7, 3, 5]
    assert [read_mask(mask).shape for mask in result["mask"]] == [(48, 64), (90, 70), (48, 64)]
    np.testing.assert_array_equal(read_mask(result["mask"][5]), files["masks"][0])


def test_the_file_that_prepare_resized_gives_what_its_pool_image_gives(
    model: mlflow.pyfunc.PyFuncModel, files: dict[str, Any]
) -> None:
    """An original is resized as `prepare` does it; its mask is that of the pool image, interpolated."""
    original = np.asarray(Image.fromarray(decode_image(files["images"][0])).resize((128, 97), Image.Resampling.LANCZOS))
    pool_image = encode_png(resize_image(original, stored_run.SIZE))
    result = ask(model, encode_png(original), pool_image, probabilities=True)
    fine, coarse = (np.load(io.BytesIO(cell)) for cell in result["probabilities"])
    network = load(files["spec"], load_weights(files["weights"]))
    (probs_CHW,) = probabilities(network, [decode_image(pool_image)])
    np.testing.assert_array_equal(coarse, probs_CHW.numpy().astype(np.float16))
    expected_CHW = torch.nn.functional.interpolate(probs_CHW[None], (97, 128), mode="bilinear")[0]
    np.testing.assert_array_equal(fine, expected_CHW.numpy().astype(np.float16))
    np.testing.assert_array_equal(read_mask(result["mask"][0]), expected_CHW.argmax(0).numpy())


def test_without_a_size_images_are_taken_as_they_are(files: dict[str, Any], tmp_path: Path) -> None:
    model = mlflow.pyfunc.load_model(str(saved(files, tmp_path, None)))
    image = encode_png(resize_image(decode_image(files["images"][0]), (70, 90)))
    expected = parity.masks(files["spec"], files["weights"], [image], 1)[0]
    np.testing.assert_array_equal(read_mask(ask(model, image)["mask"][0]), expected)


def test_threads_are_the_processs_own_again(model: mlflow.pyfunc.PyFuncModel, files: dict[str, Any]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ask(model, files["images"][0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_rows_give_no_masks(model: mlflow.pyfunc.PyFuncModel) -> None:
    assert len(ask(model)) == 0


@pytest.mark.parametrize(
    ("cell", "reason"), [(b"", "row 1: "), (b"text", "row 1: not an image"), (b"\x89PNG\r\n\x1a\n", "row 1: ")]
)
def test_a_bad_row_is_named(model: mlflow.pyfunc.PyFuncModel, files: dict[str, Any], cell: bytes, reason: str) -> None:
    with pytest.raises(MlflowException, match=reason) as refused:
        ask(model, files["images"][0], cell)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """`mlflow models serve` on a free port; its whole process group ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "-m", "models:/scenes@champion", "--env-manager", "local"]
    log = root / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "-h", "127.0.0.1", "-p", str(port)],
            env=environment(root) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=root,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not answers(f"{url}/ping"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def post(url: str, frame: dict[str, Any], **params: Any) -> list[dict[str, str]]:
    request = urllib.request.Request(
        f"{url}/invocations",
        data=json.dumps({"dataframe_split": frame, "params": params}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())["predictions"]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
