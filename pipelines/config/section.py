"""What every section of the configuration is built from."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen group of settings that refuses names and types it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def setting(default: Any = ..., *, expected: str, **limits: Any) -> Any:
    """A field whose limits are told in words.

    Args:
        default: The field's value where none is given; without it the field must be given.
        expected: What the field takes, as it follows the word "expected" in a fault.
        limits: Pydantic's own limits (gt, ge, lt, le, pattern, min_length, max_length).

    Returns:
        A pydantic field.
    """
    return Field(default, description=expected, **limits)


Side = Annotated[int, Field(ge=16, le=65_535)]
Size = tuple[Side, Side]
"""Height and width in pixels."""

SIZE = "[height, width] in pixels, each from 16 to 65535"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
