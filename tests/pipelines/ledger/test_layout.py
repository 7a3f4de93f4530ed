import pytest

from pipelines.ledger import layout


def test_keys_are_those_of_the_design():
    assert layout.part_key("abc", "images", 7) == "pools/abc/images/part-000007.parquet"
    assert layout.round_key("demo", 3) == "runs/demo/rounds/003"
    assert layout.round_folder(1000) == "rounds/1000"
    assert not layout.pool_lock_key("abc").startswith(layout.pool_key("abc") + "/")


def test_superpixels_are_named_by_every_setting_that_changes_them():
    names = {layout.superpixels_table(n, c) for n in (100, 200) for c in (1, 10.0, 10)}
    assert len(names) == 4
    assert all(name.startswith("superpixels/") for name in names)
    with pytest.raises(ValueError, match=r"superpixels\.segments"):
        layout.superpixels_table(0, 10.0)


@pytest.mark.parametrize("run", ["", "..", ".hidden", "a/b", "a b", "-x", "a" * 101, "a\n"])
def test_a_run_is_a_folder_name(run):
    with pytest.raises(ValueError, match="run"):
        layout.run_key(run)


def test_rounds_count_from_zero():
    with pytest.raises(ValueError, match="round -1"):
        layout.round_folder(-1)
