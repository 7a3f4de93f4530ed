"""The configuration: one file per section, recipes or files in YAML, all faults told at once."""

from pipelines.config.document import recipes
from pipelines.config.identity import digest, identity
from pipelines.config.load import amend, load, recorded
from pipelines.config.root import Config

__all__ = ["Config", "amend", "digest", "identity", "load", "recipes", "recorded"]
