import re

import numpy as np
import pytest
from archives import archive

from weakseg.datasets import LocalFiles
from weakseg.datasets.npy import open_array


@pytest.fixture(params=["mapped", "read item by item"])
def stored(request, tmp_path):
    """Writes an array, then opens it."""

    def make(write):
        folder = tmp_path / "data"
        folder.mkdir()
        write(folder / "a.npy")
        return open_array(LocalFiles(str(folder)) if request.param == "mapped" else archive(folder), "a.npy")

    return make


@pytest.mark.parametrize("dtype", ["f8", "u1", ">i4", "U7"])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 2), (0, 3)])
def test_items_are_the_arrays(stored, dtype, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    found = stored(lambda path: np.save(path, array))
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert len(list(found)) == shape[0]
    for index in range(shape[0]):
        np.testing.assert_array_equal(found[index], array[index])
        np.testing.assert_array_equal(list(found)[index], array[index])
    if shape[0]:
        np.testing.assert_array_equal(found[-1], array[-1])
        with pytest.raises(IndexError):
            found[shape[0]]


def test_another_version_of_the_format(stored):
    array = np.arange(6).reshape(3, 2)

    def write(path):
        with path.open("wb") as file:
            np.lib.format.write_array(file, array, version=(2, 0))

    np.testing.assert_array_equal(stored(write)[1], array[1])


def test_what_is_no_array(tmp_path):
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "whole.npy", np.zeros((4, 4)))
    whole = (tmp_path / "data" / "whole.npy").read_bytes()
    np.save(tmp_path / "data" / "objects.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "data" / "fortran.npy", np.asfortranarray(np.zeros((4, 4))))
    np.savez(tmp_path / "data" / "archive.npz", a=np.zeros(3))
    for name, data in {"empty": b"", "short": whole[:-1], "text": b"no array", "header": whole[:20]}.items():
        (tmp_path / "data" / name).write_bytes(data)
    files = archive(tmp_path / "data")
    for name, kind, words in (
        ("empty", EOFError, "No data"),
        ("short", ValueError, "255 bytes, of 256"),
        ("text", ValueError, "magic"),
        ("header", ValueError, "EOF"),
        ("objects.npy", ValueError, "objects"),
        ("fortran.npy", ValueError, "Fortran order"),
        ("archive.npz", TypeError, "archive of arrays"),
        ("nothing.npy", FileNotFoundError, "No such file"),
    ):
        with pytest.raises(kind, match=re.escape(words)):
            open_array(files, name)
