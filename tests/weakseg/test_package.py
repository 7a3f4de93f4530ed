import subprocess
import sys

import pytest

import weakseg


def test_the_parts_are_there_once_they_are_used():
    code = (
        "import sys, weakseg; assert 'torch' not in sys.modules; "
        "print(weakseg.losses.point_cross_entropy.__name__, 'training' in dir(weakseg))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "point_cross_entropy True\n"


def test_every_part_is_described_and_nothing_else_is_there():
    described = [line.split()[0] for line in weakseg.__doc__.splitlines() if line[:1].islower()]
    assert sorted(described) == sorted(weakseg._PARTS)
    for name in described:
        assert getattr(weakseg, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(weakseg, "nothing")  # noqa: B009
