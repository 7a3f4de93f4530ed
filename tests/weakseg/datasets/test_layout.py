from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.datasets import LocalFiles, Source
from weakseg.datasets.layout import claimed_twice, code, codes, images_under, member, position, read_files, stem, suffix
from weakseg.errors import DataError, ImageError


def test_order_is_own_files_then_sub_folders_each_by_name(tmp_path):
    for path in ("b/z.png", "b/a/q.tif", "a.png", "B.jpg", "c.webp", "a/x.JPG"):
        (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / path).touch()
    flat = ["images/B.jpg", "images/a.png", "images/c.webp"]
    assert list(images_under(LocalFiles(str(tmp_path)), "images")) == flat
    deep = ["images/a/x.JPG", "images/b/z.png", "images/b/a/q.tif"]
    assert list(images_under(LocalFiles(str(tmp_path)), "images", recursive=True)) == flat + deep


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder: .*nowhere"):
        list(images_under(LocalFiles(str(tmp_path)), "nowhere"))


def test_a_vanished_file_is_no_fault_of_the_image(tmp_path):
    with pytest.raises(DataError, match=r"images/a.png cannot be read in .*No such file") as caught:
        read_files(LocalFiles(str(tmp_path)), Source("a", "train", "a", "images/a.png", None))
    assert not isinstance(caught.value, ImageError)


def test_read_gives_both_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"image")
    (tmp_path / "m.png").write_bytes(b"mask")
    assert read_files(LocalFiles(str(tmp_path)), Source("a", "train", "a", "a.png", "m.png")) == (b"image", b"mask")
    assert read_files(LocalFiles(str(tmp_path)), Source("a", "train", "a", "a.png", None)) == (b"image", None)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.text(max_size=3))))
@settings(deadline=None)
def test_claimed_twice_finds_what_a_plain_search_finds(claims):
    found = claimed_twice(lambda: iter(claims))
    repeated = {name for name, count in Counter(name for name, _ in claims).items() if count > 1}
    assert (found is None) == (not repeated)
    if found:
        name, first, second = found
        assert name in repeated
        assert [owner for claimed, owner in claims if claimed == name][:2] == [first, second]


@given(st.lists(st.text(), unique=True))
@settings(deadline=None)
def test_codes_are_found_again(names):
    held = codes(names)
    assert held.tolist() == [code(name) for name in names]
    held.sort()
    assert all(held[position(held, code(name))] == code(name) for name in names)
    assert position(held, code("not among them, being longer than hypothesis makes them " * 9)) is None


def test_stem_and_suffix():
    assert (stem("a/b.c.PNG"), suffix("a/b.c.PNG")) == ("a/b.c", ".png")
    assert suffix("a.d/b") == ""


def test_member_tells_the_file_and_which_image_in_it():
    assert member("a/stack.tif#12") == ("a/stack.tif", 12)
    for path in ("a/photo.png", "a/no #3.png", "#3", "a/photo.png#", "a/photo.png#x"):
        assert member(path) == (path, None)
