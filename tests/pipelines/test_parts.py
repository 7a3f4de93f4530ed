"""A part worker over the parts of a pool: every part once, whatever the number of actors."""

import pyarrow as pa
import pytest
import tiny

from pipelines.parts import over_parts
from weakseg.errors import ResourceError


def echo() -> type:
    """A part worker made in a function, so that it travels by value: actors do not have this module."""

    class Echo:
        """Gives back what it was asked, times what it was made with."""

        def __init__(self, factor: int) -> None:
            self._factor = factor

        def __call__(self, part: int) -> pa.Table:
            return pa.table({"part": [part], "value": [part * self._factor]})

    return Echo


@pytest.mark.ray
@pytest.mark.parametrize("actors", ["1", "2"])
def test_every_part_once(ray_session: str, tmp_path, actors: str) -> None:
    config = tiny.config(tmp_path, cluster__actors=actors)
    rows = [row for table in over_parts(config, [0, 3, 4, 9, 11], echo(), {"factor": 7}) for row in table.to_pylist()]
    assert sorted(row["part"] for row in rows) == [0, 3, 4, 9, 11]
    assert all(row["value"] == 7 * row["part"] for row in rows)


@pytest.mark.ray
def test_the_users_fault_comes_back_as_it_is(ray_session: str, tmp_path) -> None:
    class Refused(echo()):
        """Finds what the user must put right in one of the parts."""

        def __call__(self, part: int) -> pa.Table:
            from weakseg.errors import ResourceError

            if part == 3:
                raise ResourceError("storage.root s3://b: access denied")
            return super().__call__(part)

    with pytest.raises(ResourceError, match="^storage.root s3://b: access denied$"):
        list(over_parts(tiny.config(tmp_path), [0, 3, 4], Refused, {"factor": 7}))


def test_no_part_needs_no_actor(tmp_path) -> None:
    assert list(over_parts(tiny.config(tmp_path), [], echo(), {"factor": 1})) == []
