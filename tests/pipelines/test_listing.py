import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import listing
from pipelines.listing import write_listing

NAMES = st.sets(
    st.lists(st.sampled_from(["a", "b", "a-", "é", "a.png", "0", "\U0001f600"]), min_size=1, max_size=3).map("/".join)
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("listing") / "names"


@pytest.fixture(scope="module", autouse=True)
def small_groups():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "GROUP", 3)
        yield


@given(NAMES)
@settings(deadline=None)
def test_it_answers_as_a_plain_set_of_names_would(path, names):
    ordered = sorted(names, key=str.encode)
    found = write_listing(path, ((name, number, -number) for number, name in enumerate(ordered)))
    for number, name in enumerate(ordered):
        assert found.size(name) == number
    folders = {f"{name.rpartition('/')[0]}/" for name in names if "/" in name}
    folders |= {f"{folder.split('/')[0]}/" for folder in folders}
    for prefix in {"", "a/", "nothing/", *folders}:
        below = [name[len(prefix) :] for name in ordered if name.startswith(prefix)]
        children = list(found.children(prefix))
        assert [child.name for child in children if not child.is_dir()] == [name for name in below if "/" not in name]
        inner = [child.name for child in children if child.is_dir()]
        assert sorted(inner) == sorted({name.partition("/")[0] for name in below if "/" in name})
        assert found.has_folder(prefix) == bool(below)
    for name in ("", "nothing", "a/nothing", *(f"{name}x" for name in ordered)):
        assert (found.size(name) is None) == (name not in names)


def test_marks_of_folders_are_no_files(path):
    found = write_listing(path, [("a/", 0, 0), ("b", 1, 0), ("c/", 0, 0), ("c/d", 2, 0)])
    assert list(found.children("")) == [("a", True), ("b", False), ("c", True)]
    assert list(found.children("a/")) == []
    assert found.has_folder("a/")
    assert list(found.children("c/")) == [("d", False)]


def test_little_is_held(path):
    found = write_listing(path, ((f"{number:06d}", number, 0) for number in range(3000)))
    assert sum(1 for _ in found.children("")) == 3000
    assert sum(found.size(f"{number:06d}") for number in reversed(range(3000))) == sum(range(3000))
    assert len(found._held) <= 2


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"], ["a", "b", "c", "d", "c"], ["a", "b", "c", "c"]])
def test_another_order_is_refused(path, names):
    with pytest.raises(ValueError, match="comes after"):
        write_listing(path, ((name, 0, 0) for name in names))
