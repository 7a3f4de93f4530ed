"""From a round's files to an MLflow model folder."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

import weakseg
from weakseg.datasets import Classes

LIBRARIES = (
    "numpy",
    "torch",
    "torchvision",
    "pyarrow",
    "pillow",
    "scikit-image",
    "scipy",
    "segmentation-models-pytorch",
    "timm",
    "safetensors",
    "matplotlib",
    "pyyaml",
)
"""What `weakseg` itself needs: the library dependencies of pyproject.toml."""

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, "image")]),
    outputs=Schema([ColSpec(DataType.binary, "mask"), ColSpec(DataType.binary, "probabilities", required=False)]),
    params=ParamSchema([ParamSpec("probabilities", DataType.boolean, False)]),
)


def save(
    folder: Path,
    *,
    weights: bytes,
    spec: Mapping[str, Any],
    classes: Classes,
    size: tuple[int, int] | None,
    window: tuple[int, int] | None = None,
    temperature: float = 1.0,
    threads: int | None,
    example: bytes,
    model: Model | None = None,
) -> None:
    """Write the model as a folder that `mlflow.pyfunc.load_model` opens.

    Args:
        folder: Where; it must not exist, its parent must.
        weights: The model's safetensors file.
        spec: The model's `spec`.
        classes: What the mask's indices mean; kept beside the weights as `classes.yaml`.
        size: (height, width) that every image was resized to before training; None = images are taken as they are.
        window: Where there is no size, the largest height and width in training: larger images are seen in windows.
        temperature: By which logits are divided before they become probabilities, from a fit on validation images.
        threads: Of torch on a CPU, for a prediction.
        example: An encoded image, shown as how to call the model.
        model: MLflow's own record of the model, where it has an id already.
    """
    parts = folder.with_name(f"{folder.name}-parts")
    parts.mkdir()
    description = {"model": dict(spec), "size": size, "window": window, "temperature": temperature}
    contents = {
        "weights": ("model.safetensors", weights),
        "description": ("model.json", json.dumps(description, indent=1).encode()),
        "classes": ("classes.yaml", classes.to_yaml().encode()),
    }
    artifacts = {}
    for name, (file, content) in contents.items():
        (parts / file).write_bytes(content)
        artifacts[name] = str(parts / file)
    mlflow.pyfunc.save_model(
        path=str(folder),
        mlflow_model=model,
        python_model=str(Path(__file__).with_name("model.py")),
        artifacts=artifacts,
        code_paths=[str(Path(weakseg.__file__).parent)],
        signature=SIGNATURE,
        input_example=pd.DataFrame({"image": [example]}),
        pip_requirements=requirements(),
        model_config={"threads": threads, "device": None},
    )


def requirements() -> list[str]:
    """What must be installed where the model runs: exactly what is installed here, without Ray."""
    # A local part such as "+cpu" names a build that no package index has.
    return [f"{name}=={version(name).split('+')[0]}" for name in ("mlflow", *LIBRARIES)]
