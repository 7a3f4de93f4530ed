"""Section `register`: under which name the final model is registered."""

from typing import Literal

from pipelines.config.section import Section, setting


class Register(Section):
    """The model registry.

    Attributes:
        name: The registered model's name; null is the data layout's.
        round: Which round's model is tested and registered: best on validation, or the last.
        onnx: Whether the version also holds the model as ONNX, checked against it (needs weakseg[onnx]).
    """

    name: str | None = setting(
        None, expected="null or a name without / and :", min_length=1, max_length=200, pattern=r"^[^/:]+$"
    )
    round: Literal["best", "last"] = setting("best", expected="a choice")
    onnx: bool = setting(False, expected="true or false")
