import pytest

from weakseg.datasets import Classes
from weakseg.datasets.classes import hexadecimal
from weakseg.errors import DataError


def test_reads_names_colours_and_keys():
    classes = Classes.from_yaml(
        "classes:\n- {name: road, color: '#6EC1E4'}\n- {name: water, color: [226, 169, 41], key: w}\n"
        "- {name: land, color: '#8429f6'}\nvoid_colors: ['#000000']\n"
    )
    assert classes.names == ("road", "water", "land")
    assert classes.colors == ((110, 193, 228), (226, 169, 41), (132, 41, 246))
    assert classes.keys == ("1", "w", "2")
    assert classes.void_colors == ((0, 0, 0),)
    assert len(classes) == 3


def test_a_bare_list_will_do():
    assert Classes.from_yaml("[{name: a, color: '#010203'}, {name: b, color: '#030201'}]").names == ("a", "b")


def test_round_trip_through_yaml_and_a_file(tmp_path):
    classes = Classes(("größe", "no"), ((1, 2, 3), (4, 5, 6)), ("g", "n"), ((9, 9, 9),))
    (tmp_path / "classes.yaml").write_text(classes.to_yaml(), encoding="utf-8")
    assert Classes.from_yaml(tmp_path / "classes.yaml") == classes
    assert Classes.from_yaml(classes.to_yaml()) == classes


def test_there_are_keys_for_many_and_none_twice():
    many = Classes(tuple(f"c{n}" for n in range(100)), tuple((n, 0, 0) for n in range(100)))
    used = [key for key in many.keys if key]
    assert len(set(used)) == len(used) == 36
    assert Classes.from_yaml(many.to_yaml()) == many


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "expected a list `classes`"),
        ("classes: []", "expected a list `classes`"),
        ("classes: {a: b}", "expected a list `classes`"),
        ("classes: [a, b]", "class 0 needs name and color .* got 'a'; class 1 needs"),
        ("classes: [{name: a}]", "class 0 needs name and color"),
        ("classes: [{name: a, color: '#000000', colour: red}]", "nothing else"),
        ("classes: [{name: a, color: red}]", r"class 0 \(a\): a color is .* got 'red'"),
        ("classes: [{name: a, color: #123456}]", "cannot be read as YAML"),
        ("classes: [{name: a, color: [0, 0, 256]}]", r"got \[0, 0, 256\]"),
        ("classes: [{name: a, color: [0, 0, true]}]", r"got \[0, 0, True\]"),
        ("classes: [{name: a, color: '#000000'}, {name: a, color: '#000001'}]", "name a is given twice"),
        ("classes: [{name: a, color: '#00000A'}, {name: b, color: '#00000a'}]", "color #00000A is given twice"),
        ("classes: [{name: a, color: '#000000'}]\nvoid_colors: ['#000000']", "color #000000 is given twice"),
        (
            "classes: [{name: a, color: '#000000', key: x}, {name: b, color: '#000001', key: x}]",
            "key x is given twice",
        ),
        ("classes: [{name: a, color: '#000000'}]\nvoid: 0", "unknown field void"),
        ("classes: [{name: a, color: '#000000'}]\nvoid_colors: 7", "void_colors must be a list"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_faults_are_named_with_an_example_of_what_to_write(text, fault):
    with pytest.raises(DataError, match=fault) as caught:
        Classes.from_yaml(text)
    assert "\n" not in str(caught.value)
    assert 'classes: [{name: road, color: "#6EC1E4"}' in str(caught.value)


def test_one_class_leaves_nothing_to_tell_apart():
    with pytest.raises(DataError, match=r"between 2 and 255 classes \(the background is one\), got 1"):
        Classes(("crack",), ((255, 0, 0),))


def test_too_many_classes():
    with pytest.raises(DataError, match="between 2 and 255 classes .*, got 256"):
        Classes(tuple(map(str, range(256))), tuple((n // 16, n % 16, 0) for n in range(256)))


def test_unequal_lengths():
    with pytest.raises(DataError, match="as many colors and keys as names"):
        Classes(("a", "b"), ((0, 0, 0),))


def test_hexadecimal():
    assert hexadecimal((60, 16, 152)) == "#3C1098"
