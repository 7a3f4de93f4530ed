import pickle

import pytest
from archives import archive

from weakseg.datasets import LocalFiles
from weakseg.datasets.files import Files, text_lines


@pytest.fixture(params=["folder", "archive"])
def files(request, tmp_path) -> Files:
    folder = tmp_path / "data"
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "b-c").mkdir()
    for path in ("é.png", "a.png", "B.png", "b/x.txt", "b/deep/y.bin", "b-c/z"):
        (folder / path).write_bytes(path.encode())
    return LocalFiles(str(folder)) if request.param == "folder" else archive(folder)


def test_a_folder_holds_files_and_folders(files):
    assert {(entry.name, entry.is_dir()) for entry in files.entries("")} == {
        ("é.png", False),
        ("a.png", False),
        ("B.png", False),
        ("b", True),
        ("b-c", True),
    }
    assert {entry.name for entry in files.entries("b")} == {"x.txt", "deep"}
    assert [entry.name for entry in files.entries("b/deep")] == ["y.bin"]
    if files.ordered:
        assert [entry.name for entry in files.entries("") if not entry.is_dir()] == ["B.png", "a.png", "é.png"]


def test_what_is_there(files):
    assert files.is_file("b/x.txt")
    assert files.is_folder("b")
    assert files.is_folder("b/deep")
    for path in ("b", "nothing", "b/x", "x.txt"):
        assert not files.is_file(path)
    for path in ("b/x.txt", "nothing", "b/dee"):
        assert not files.is_folder(path)


def test_content(files):
    assert files.size("b/deep/y.bin") == len(b"b/deep/y.bin")
    assert files.read("é.png") == "é.png".encode()
    with files.open("b/deep/y.bin") as stream:
        stream.seek(2)
        assert stream.read(4) == b"deep"
        assert stream.seek(0, 2) == 12


def test_what_is_missing_is_an_error_of_the_system_in_its_words(files):
    for get in (files.read, files.size, files.open, lambda path: list(files.entries(path))):
        with pytest.raises(FileNotFoundError) as raised:
            get("b/nothing")
        assert raised.value.strerror == "No such file or directory"


def test_it_travels(files):
    assert pickle.loads(pickle.dumps(files)) == files


def test_lines_of_text_with_and_without_a_mark(tmp_path):
    for name, mark in (("a.txt", b""), ("b.txt", b"\xef\xbb\xbf")):
        (tmp_path / name).write_bytes(mark + b"one\r\ntwo")
        assert list(text_lines(LocalFiles(str(tmp_path)), name)) == ["one\n", "two"]
    (tmp_path / "c.txt").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        list(text_lines(LocalFiles(str(tmp_path)), "c.txt"))
