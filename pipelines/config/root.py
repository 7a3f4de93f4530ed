"""The whole configuration."""

import warnings

from pipelines.config.cluster import Cluster
from pipelines.config.data import Data
from pipelines.config.evaluate import Evaluate
from pipelines.config.labelling import Labelling
from pipelines.config.loss import Loss
from pipelines.config.model import Model
from pipelines.config.register import Register
from pipelines.config.section import Section, setting
from pipelines.config.stop import Stop
from pipelines.config.storage import Storage
from pipelines.config.superpixels import Superpixels
from pipelines.config.supervision import Supervision
from pipelines.config.sweep import Sweep
from pipelines.config.tracking import Tracking
from pipelines.config.training import Training

with warnings.catch_warnings():
    # every abstract class has a method `register`, which no instance needs
    warnings.filterwarnings("ignore", message='Field name "register"')

    class Config(Section):
        """Everything a run can be told. Frozen, picklable, and checked by :func:`pipelines.config.load`.

        Attributes:
            run: The run's name: the same name and settings continue the same run.
            seed: The one seed of every draw.
        """

        run: str = setting(
            expected="a name of at most 100 letters, digits and . _ - that begins with a letter or digit",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        )
        seed: int = setting(0, expected="a whole number from 0", ge=0, lt=2**63)
        storage: Storage = setting(Storage(), expected="a section of fields")
        data: Data = setting(expected="a section of fields")
        superpixels: Superpixels = setting(Superpixels(), expected="a section of fields")
        supervision: Supervision = setting(Supervision(), expected="a section of fields")
        model: Model = setting(Model(), expected="a section of fields")
        loss: Loss = setting(Loss(), expected="a section of fields")
        training: Training = setting(Training(), expected="a section of fields")
        labelling: Labelling = setting(Labelling(), expected="a section of fields")
        stop: Stop = setting(Stop(), expected="a section of fields")
        evaluate: Evaluate = setting(Evaluate(), expected="a section of fields")
        tracking: Tracking = setting(Tracking(), expected="a section of fields")
        register: Register = setting(Register(), expected="a section of fields")
        cluster: Cluster = setting(Cluster(), expected="a section of fields")
        sweep: Sweep | None = setting(None, expected="null or a section of fields")
