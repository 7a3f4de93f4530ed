"""The registered model: an MLflow pyfunc that runs without Ray and without `pipelines`."""

from pipelines.serving.package import requirements, save

__all__ = ["requirements", "save"]
