import io
from pathlib import Path

import pyarrow as pa
import pytest

from weakseg.errors import DataError
from weakseg.schema import PROPORTIONS
from weakseg.supervision import read_proportions

IDS = ["a", "b", "c", "d"]
CLASSES = ["land", "water"]


def read(text: str, classes: list[str] = CLASSES, **options: str) -> dict[str, list[float]]:
    table = read_proportions(io.StringIO(text), classes=classes, image_ids=IDS, **options)
    assert table.schema == PROPORTIONS
    shares = [[round(share, 6) for share in row] for row in table["proportions"].to_pylist()]
    return dict(zip(table["image_id"].to_pylist(), shares, strict=True))


def test_columns_in_any_order_rows_in_that_of_the_file() -> None:
    found = read("water,image_id,land\n0.25,c,0.75\n\n1,a,0\n")
    assert found == {"c": [0.75, 0.25], "a": [0, 1]}
    assert list(found) == ["c", "a"]


def test_shares_or_per_cent_rounded_by_hand() -> None:
    assert read("image_id,land,water\na,30,70\nb,0.3,0.7\nc,33,66\nd,0.5,0.52\n") == {
        "a": [0.3, 0.7],
        "b": [0.3, 0.7],
        "c": [0.333333, 0.666667],
        "d": [0.490196, 0.509804],
    }


def test_a_single_class_is_a_share() -> None:
    assert read("image_id,cell\na,0.3\nb,1\nc,0\n", ["cell"]) == {"a": [0.3], "b": [1], "c": [0]}
    with pytest.raises(DataError, match=r"line 2: cell is 30, expected a share in 0\.\.1"):
        read("image_id,cell\na,30\n", ["cell"])


def test_rows_without_shares_are_missing_rows() -> None:
    assert read("image_id,land,water\na,,\nb,1,0\n") == {"b": [1, 0]}
    assert read("image_id,land,water\n") == {}
    assert read("image_id,land,water,seconds\n,,,\na,1,0,\n") == {"a": [1, 0]}


def test_a_file_of_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b'\xef\xbb\xbfimage_id,land,"water",seconds,annotator\r\na, 0.5 ,0.5,12.5,Kim\r\nb,1,0,,\r\n')
    first, second = read_proportions(path, classes=CLASSES, image_ids=IDS).to_pylist()
    assert (first["proportions"], first["seconds"], first["annotator"]) == ([0.5, 0.5], 12.5, "Kim")
    assert (second["seconds"], second["annotator"], second["labelled_at"]) == (None, "import:mine.csv", None)
    other = read_proportions(path, classes=CLASSES, image_ids=IDS, annotator="browser:Lee")
    assert other["annotator"].to_pylist() == ["Kim", "browser:Lee"]


def test_a_class_may_have_the_name_of_an_optional_column() -> None:
    text = io.StringIO("image_id,seconds,water\na,0.25,0.75\n")
    table = read_proportions(text, classes=["seconds", "water"], image_ids=IDS)
    assert table["proportions"].to_pylist() == [[0.25, 0.75]]
    assert table["seconds"].to_pylist() == [None]


def test_ids_from_a_table(tmp_path: Path) -> None:
    path, other = tmp_path / "mine.csv", tmp_path / "other.csv"
    path.write_text("image_id,land,water\nb,1,0\n")
    other.write_text("image_id,land,water\nz,1,0\n")
    for ids in (pa.array(IDS), pa.chunked_array([IDS[:1], IDS[1:]])):
        assert read_proportions(str(path), classes=CLASSES, image_ids=ids)["image_id"].to_pylist() == ["b"]
        with pytest.raises(DataError, match="unknown image_id 'z', expected one of the 4 there are, such as 'a'"):
            read_proportions(other, classes=CLASSES, image_ids=ids)
    with pytest.raises(DataError, match="expected one of the 0 there are$"):
        read_proportions(path, classes=CLASSES, image_ids=[])


HEADER = "image_id,land,water,seconds\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a,0.5,0.4,\n", r"proportions line 2: the classes sum to 0\.9, expected 1 \(or 100 for per cent\)"),
        (HEADER + "a,50,40,\n", "line 2: the classes sum to 90"),
        (HEADER + "a,0,0,\n", "line 2: the classes sum to 0"),
        (HEADER + "a,1.5,-0.5,\n", r"line 2: water is -0\.5, expected at least 0"),
        (HEADER + "a,half,0.5,\n", r"line 2: land is 'half', expected a number such as 0\.25"),
        (HEADER + "a,nan,0.5,\n", "line 2: land is 'nan'"),
        (HEADER + "a,inf,0.5,\n", "line 2: land is 'inf'"),
        (HEADER + "a,50%,50%,\n", "line 2: land is '50%'"),
        (HEADER + "a,,0.5,\n", "line 2: land is '', expected a number"),
        (HEADER + "a,0,5,0,5,\n", "line 2: 6 values, expected 4 as in the first line"),
        (HEADER + "a,1,0,soon\n", "line 2: seconds is 'soon', expected a number of at least 0 or nothing"),
        (HEADER + "a,1,0,-2\n", "line 2: seconds is '-2'"),
        (HEADER + "z,1,0,\n", "line 2: unknown image_id 'z', expected one of the 4 there are, such as 'a'"),
        (HEADER + "z,,,\n", "unknown image_id 'z'"),
        (HEADER + "b,1,0,\n\nb,1,0,\n", "line 4: image_id 'b' again, first in line 2"),
        ("image_id,land\na,1\n", "no column water, expected image_id,land,water"),
        ("image_id;land;water\na;1;0\n", "no column image_id, land, water.*separate the columns by commas"),
        ("image_id,land,water,sky\n", "unknown column 'sky', expected the classes land, water"),
        ("image_id,land,water,land\n", "column land is there twice"),
        ("", "proportions is empty"),
        ('image_id,land,water\n"a,1,0\n', "cannot be read as CSV"),
    ],
)
def test_faults_by_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(text)


def test_every_fault_at_once_up_to_ten() -> None:
    text = HEADER + "z,x,-1,soon\n" + "a,1,0,3\n" + "y,1,0,\n" * 8
    with pytest.raises(DataError) as caught:
        read(text)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert [line.split(":")[0] for line in lines[:5]] == ["proportions line 2"] * 4 + ["proportions line 4"]
    assert lines[-1] == "and 2 more"


def test_a_class_cannot_take_the_name_of_the_ids() -> None:
    with pytest.raises(DataError, match="rename the class"):
        read("image_id,land\n", ["image_id", "land"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no gone\.csv \(looked for .*gone\.csv\)"):
        read_proportions(tmp_path / "gone.csv", classes=CLASSES, image_ids=IDS)
    (tmp_path / "latin.csv").write_bytes("image_id,l\xe4nd\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv cannot be read as CSV in UTF-8"):
        read_proportions(tmp_path / "latin.csv", classes=CLASSES, image_ids=IDS)
