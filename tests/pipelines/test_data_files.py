"""Data sets on an S3 server are what they are in a folder."""

import pickle
from collections import Counter
from pathlib import Path

import pytest
import tiny
from botocore.exceptions import ClientError
from layouts import WRITERS, write_cityscapes, write_epfl_em, write_folder, write_pannuke

from pipelines import data_files, prepare, s3
from pipelines.data_files import BucketFiles, open_files
from pipelines.pool import Pool
from pipelines.s3 import Address
from pipelines.sources import census, read_chunk, write_listing
from pipelines.storage import open_storage
from weakseg.datasets import has_coarse, open_layout
from weakseg.errors import DataError, ResourceError

pytestmark = pytest.mark.s3


def upload(folder: Path, root: str) -> str:
    """Put all files of a folder below an address."""
    address = Address.parse(root)
    for path in folder.rglob("*"):
        if path.is_file():
            put(address, path.relative_to(folder).as_posix(), path.read_bytes())
    return root


def put(address: Address, name: str, data: bytes) -> None:
    s3.client().put_object(Bucket=address.bucket, Key=f"{address.prefix}/{name}", Body=data)


def opened(name, root, **settings):
    return open_layout(name, root, files=open_files(root), **settings)


@pytest.fixture
def asked(monkeypatch):
    """Pages of three keys; counts how often each prefix was listed from its beginning."""
    listed = Counter()
    pages = s3.pages

    def counted(bucket, prefix="", **options):
        listed[prefix] += 1
        return pages(bucket, prefix, **options, MaxKeys=3)

    monkeypatch.setattr(s3, "pages", counted)
    return listed


@pytest.mark.parametrize("kind", WRITERS)
def test_every_layout_is_the_same_on_s3_and_listed_once(kind, s3_root, tmp_path, asked):
    name, write = WRITERS[kind]
    local = open_layout(name, str(write(tmp_path / "data")), seed=3)
    layout = opened(name, upload(tmp_path / "data", s3_root), seed=3)
    assert layout.root == s3_root
    sources = list(local.sources())
    assert list(layout.sources()) == sources
    found = census(layout, size=None, tile=None)
    assert found == census(local, size=None, tile=None)
    storage = open_storage(tmp_path / "store")
    write_listing(storage, found)
    assert max(asked.values()) == 1
    asked.clear()
    twin = pickle.loads(pickle.dumps(layout))  # as in a worker
    assert twin == layout
    assert [each for chunk in range(found.chunks) for each in read_chunk(storage, found.digest, chunk)] == sources
    for source in sources:
        assert twin.read(source) == local.read(source)
        if has_coarse(local):
            assert twin.read_coarse(source) == local.read_coarse(source)
    assert not asked


def test_more_than_a_page_of_the_servers_own(s3_root, tmp_path):
    folder = write_folder(tmp_path / "data", images=4)
    root = upload(folder, s3_root)
    for number in range(1100):
        (folder / "images" / f"{number:04d}.png").touch()
        put(Address.parse(root), f"images/{number:04d}.png", b"")
    layout = opened("folder", root)
    assert list(layout.sources()) == list(open_layout("folder", str(folder)).sources())
    assert sum(1 for _ in layout.sources()) == 1104


def test_coarse_annotations_that_only_some_have(s3_root, tmp_path):
    folder = write_cityscapes(tmp_path / "data", coarse=False)
    layout = opened("cityscapes", upload(folder, s3_root))
    assert layout.read_coarse(next(layout.sources())) is None


def test_the_order_of_folders_is_that_of_a_disk(s3_root, tmp_path):
    """Keys put `a-b/` before `a/`, names put `a` before `a-b`."""
    folder = write_folder(tmp_path / "data", images=6)
    for name in ("a", "a-b", "a b", "a.b", "é"):
        (folder / "images" / name).mkdir()
        (folder / "images" / name / "x.png").write_bytes(b"x")
    layout = opened("folder", upload(folder, s3_root))
    assert list(layout.sources()) == list(open_layout("folder", str(folder)).sources())


def test_marks_that_consoles_leave_for_folders_are_no_images(s3_root, tmp_path):
    root = upload(write_folder(tmp_path / "data"), s3_root)
    expected = list(opened("folder", root).sources())
    for name in ("", "images/", "images/empty/", "masks/"):
        put(Address.parse(root), name, b"")
    assert list(opened("folder", root).sources()) == expected


def test_a_version_is_that_of_the_content(s3_root, tmp_path):
    address = Address.parse(upload(write_folder(tmp_path / "data"), s3_root))
    seen = []
    for data in (b"a", b"b", b"a"):
        put(address, "images/own.png", data)
        seen.append(BucketFiles(address).version("images/own.png"))
    assert seen[0] == seen[2] != seen[1]


class TestParts:
    """Files of which parts are read."""

    @pytest.fixture(params=["copied", "in parts"])
    def small(self, request, monkeypatch):
        monkeypatch.setattr(data_files, "HEAD", 64)
        monkeypatch.setattr(data_files, "WHOLE", 2**28 if request.param == "copied" else 0)

    @pytest.mark.parametrize(("name", "write"), [("epfl_em", write_epfl_em), ("pannuke", write_pannuke)])
    def test_images_within_files(self, small, s3_root, tmp_path, name, write):
        local = open_layout(name, str(write(tmp_path / "data")))
        layout = opened(name, upload(tmp_path / "data", s3_root))
        for source in local.sources():
            assert layout.read(source) == local.read(source)

    def test_it_is_a_file_as_any_other(self, small, s3_root):
        data = bytes(range(256)) * 40
        put(Address.parse(s3_root), "a/b", data)
        with BucketFiles(Address.parse(s3_root)).open("a/b") as stream:
            assert stream.seek(0, 2) == len(data)
            assert stream.read() == b""
            for first, count in ((0, 10), (60, 10), (5000, 3000), (len(data) - 3, 10), (1, 1)):
                stream.seek(first)
                assert stream.read(count) == data[first : first + count]
                assert stream.tell() == min(first + count, len(data))

    def test_an_empty_one(self, small, s3_root):
        put(Address.parse(s3_root), "a/b", b"")
        with BucketFiles(Address.parse(s3_root)).open("a/b") as stream:
            assert stream.read() == b""

    def test_of_another_object_of_that_name_nothing_is_read(self, monkeypatch, s3_root):
        monkeypatch.setattr(data_files, "HEAD", 64)
        monkeypatch.setattr(data_files, "WHOLE", 0)
        put(Address.parse(s3_root), "a/b", b"1" * 1000)
        files = BucketFiles(Address.parse(s3_root))
        with files.open("a/b") as stream:
            put(Address.parse(s3_root), "a/b", b"2" * 1000)
            stream.seek(500)
            with pytest.raises(ResourceError, match=f"data.path {s3_root}/a/b: .*PreconditionFailed"):
                stream.read(10)


class TestErrors:
    @pytest.mark.parametrize("path", [None, "/data/camvid", "~/camvid", "camvid"])
    def test_folders_are_left_to_others(self, path):
        assert open_files(path) is None

    def test_no_address(self):
        with pytest.raises(ResourceError, match=r"^data\.path: s3://b!d/x"):
            open_files("s3://b!d/x")

    def test_no_bucket(self, s3_server):
        with pytest.raises(ResourceError, match=r"^data\.path s3://weakseg-nowhere/x: there is no such bucket"):
            open_files("s3://weakseg-nowhere/x")

    def test_nothing_there(self, s3_root):
        with pytest.raises(DataError, match=rf"^data\.path {s3_root}: nothing lies there"):
            open_files(s3_root)

    def test_access_denied(self, s3_root, monkeypatch):
        def refuse(**_):
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")

        monkeypatch.setattr(s3.client(), "list_objects_v2", refuse)
        with pytest.raises(ResourceError, match=rf"^data\.path {s3_root}: access denied") as raised:
            open_files(s3_root)
        assert "\n" not in str(raised.value)

    def test_a_missing_object_is_said_as_of_a_missing_file(self, s3_root, tmp_path):
        folder = write_folder(tmp_path / "data")
        layout = opened("folder", upload(folder, s3_root))
        local = open_layout("folder", str(folder))
        source = next(layout.sources())
        (folder / source.image).unlink()
        address = Address.parse(s3_root)
        s3.client().delete_object(Bucket=address.bucket, Key=f"{address.prefix}/{source.image}")
        told = []
        for each in (layout, local):
            with pytest.raises(DataError) as raised:
                each.read(source)
            told.append(str(raised.value).replace(each.root, "ROOT"))
        assert told[0] == told[1]

    def test_another_layout_is_refused_by_the_address(self, s3_root, tmp_path):
        root = upload(write_folder(tmp_path / "data"), s3_root)
        with pytest.raises(DataError, match=f"^{root} is not CamVid"):
            opened("camvid", root)

    def test_an_empty_name_is_refused(self, s3_root, tmp_path):
        root = upload(write_folder(tmp_path / "data"), s3_root)
        put(Address.parse(root), "images//b.png", b"x")
        with pytest.raises(DataError, match=r"images//b\.png: no file or folder can have an empty name"):
            opened("folder", root)

    def test_a_bucket_that_lists_in_no_order_is_refused(self, s3_root, tmp_path, monkeypatch):
        root = upload(write_folder(tmp_path / "data"), s3_root)
        pages = s3.pages

        def turned(*place, **options):
            return ({**page, "Contents": page["Contents"][::-1]} for page in pages(*place, **options))

        monkeypatch.setattr(s3, "pages", turned)
        with pytest.raises(ResourceError, match="does not list its objects in order"):
            opened("folder", root)


@pytest.mark.ray
@pytest.mark.parametrize("name", ["folder", "camvid"])
def test_prepare_makes_the_pool_that_it_makes_from_a_folder(ray_session, s3_root, tmp_path, name):
    folder = WRITERS[name][1](tmp_path / "data")
    pools = []
    for path in (str(folder), upload(folder, s3_root)):
        storage = open_storage(tmp_path / f"root-{len(pools)}")
        config = tiny.config(
            tmp_path / "root",
            data__layout=name,
            data__path=path,
            data__images="null",
            data__size="null",
            superpixels__segments="8",
            training__augmentation="null",
        )
        result = prepare.run(config, storage)
        pools.append((result, Pool(storage, result.digest).manifest))
        assert prepare.run(config, storage).chunks == 0
    assert pools[0][0].chunks > 1
    assert pools[0] == pools[1]
