"""The stored model where nothing but its own requirements is installed."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stored_run

from pipelines.serving import parity
from weakseg.codec import read_mask

ALONE = """
import importlib.util, pickle, sys
assert not [name for name in ("ray", "pipelines", "boto3") if importlib.util.find_spec(name)]
import mlflow.pyfunc, pandas as pd
images = pickle.load(open(sys.argv[2], "rb"))
masks = list(mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.DataFrame({"image": images}))["mask"])
import weakseg
pickle.dump((masks, weakseg.__file__), open(sys.argv[3], "wb"))
"""


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_fresh_environment_of_the_models_own_requirements_gives_the_pipelines_masks(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, tmp_path: Path
) -> None:
    """Installs some gigabytes from the package index; WEAKSEG_PIP_OPTIONS are pip's (an index of CPU builds, ...)."""
    root = stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)[0]
    folder = stored_run.stored_model(root)
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    options = os.environ.get("WEAKSEG_PIP_OPTIONS", "").split()
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-cache-dir", *options]
    installed = subprocess.run(
        [*pip, "-r", str(folder / "requirements.txt")], capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, installed.stderr[-4000:]
    with stored_run.opened(root) as (plan, ledger):
        images = list(parity.sample(ledger.pool).values())
        spec, weights = ledger.read_json("rounds/001/model.json"), ledger.read_bytes("rounds/001/model.safetensors")
        expected = parity.masks(spec, weights, images, parity.threads(plan))
    (tmp_path / "images").write_bytes(pickle.dumps(images))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    arguments = [str(python), "-c", ALONE, str(folder), str(tmp_path / "images"), str(tmp_path / "masks")]
    done = subprocess.run(arguments, env=clean, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    masks, origin = pickle.loads((tmp_path / "masks").read_bytes())
    assert Path(origin).parts[-3:] == ("code", "weakseg", "__init__.py")
    for given, mask_HW in zip(masks, expected, strict=True):
        # The index has builds of torch for other hardware than the pipeline's: last bits may differ.
        given_HW = read_mask(given)
        assert given_HW.shape == mask_HW.shape
        assert (given_HW == mask_HW).mean() >= parity.AGREEMENT
    assert len(np.unique(masks)) > 1
