import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.faulty_s3 import faulty
from servers.s3 import environment

from pipelines import s3
from pipelines.s3 import Address
from weakseg.errors import ResourceError


def test_an_address_is_a_bucket_and_a_prefix():
    address = Address.parse("s3://bucket/a/b/")
    assert address == Address("bucket", "a/b")
    assert address.uri == "s3://bucket/a/b"
    assert address.key("c/d") == "a/b/c/d"
    assert address.key() == "a/b"
    assert address.relative("a/b/c/d") == "c/d"
    assert Address.parse("s3://bucket") == Address("bucket")
    assert Address("bucket").uri == "s3://bucket"
    assert Address("bucket").key("x") == "x"


@pytest.mark.parametrize("text", ["/a/b", "gs://b/c", "s3://", "s3:///p", "s3://b", "s3://b!d/x", "s3://bucket/a/../b"])
def test_what_is_no_address_is_refused_in_one_line(text):
    with pytest.raises(ResourceError) as raised:
        Address.parse(text)
    assert "\n" not in str(raised.value)


def test_credentials_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(ResourceError, match="no credentials") as raised:
        Address.parse("s3://AKIA123:secret456@bucket/prefix")
    assert "AKIA123" not in str(raised.value)
    assert "secret456" not in str(raised.value)


@given(st.text(alphabet="./a\\~ \n", max_size=12))
def test_a_key_is_refused_or_lies_below_the_prefix(relative):
    try:
        key = Address("bucket", "p").key(relative)
    except ValueError:
        return
    assert key == "p" or key.startswith("p/")
    assert ".." not in key.split("/")


def test_s3_addresses_are_told_from_paths(tmp_path):
    assert s3.is_s3("s3://b/c")
    assert not s3.is_s3(tmp_path)
    assert not s3.is_s3("s3/b")


@pytest.mark.parametrize(
    ("endpoint", "override"),
    [
        (None, None),
        ("https://s3.eu-central-1.amazonaws.com", None),
        ("https://s3.dualstack.eu-central-1.amazonaws.com", "s3.dualstack.eu-central-1.amazonaws.com"),
        (
            "https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com/",
            "bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com",
        ),
        ("http://127.0.0.1:9", "127.0.0.1:9"),
    ],
)
def test_arrow_asks_the_endpoint_that_boto_asks(endpoint, override, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    made = []
    monkeypatch.setattr(s3.arrow_fs, "S3FileSystem", lambda **options: made.append(options))
    s3.filesystem()
    assert made[0]["endpoint_override"] == override


def test_an_endpoint_with_a_path_is_refused(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://host/storage/v1/s3")
    with pytest.raises(ResourceError, match=r"^S3: .*https://host/storage/v1/s3 has a path.*AWS_ENDPOINT_URL_S3"):
        s3.client()


@pytest.mark.s3
def test_objects_go_there_and_come_back(s3_root):
    address = Address.parse(s3_root)
    s3.client().put_object(Bucket=address.bucket, Key=address.key("k"), Body=b"12345")
    assert s3.read(address.bucket, address.key("k")) == b"12345"
    part = s3.fetch(address.bucket, address.key("k"), Range="bytes=1-2")
    assert part["Body"] == b"23"
    with pytest.raises(FileNotFoundError):
        s3.read(address.bucket, address.key("l"))
    with s3.filesystem().open_input_stream(f"{address.bucket}/{address.key('k')}") as stream:
        assert stream.read() == b"12345"


@pytest.mark.s3
def test_a_refusal_that_breaks_off_is_asked_for_again(s3_server, s3_root):
    address = Address.parse(s3_root)
    with (
        faulty(s3_server, rate=0.5, seed=1, faults=("broken",)) as proxy,
        environment(AWS_ENDPOINT_URL_S3=proxy.url),
    ):
        for number in range(10):
            with pytest.raises(FileNotFoundError):
                s3.read(address.bucket, address.key(f"{number}"))
        assert proxy.counts["broken"]


@pytest.mark.s3
def test_listings_go_on_past_one_reply(s3_root):
    address = Address.parse(s3_root)
    for number in range(5):
        s3.client().put_object(Bucket=address.bucket, Key=address.key(f"{number}"), Body=b"")
    pages = list(s3.pages(address.bucket, address.key() + "/", MaxKeys=2))
    assert [len(page["Contents"]) for page in pages] == [2, 2, 1]


@pytest.mark.s3
def test_a_process_has_one_client_and_its_child_another(s3_root):
    assert s3.client() is s3.client()
    parent = id(s3.client())
    address = Address.parse(s3_root)
    child = os.fork()
    if child == 0:
        try:
            fresh = not s3._clients
            s3.client().put_object(Bucket=address.bucket, Key=address.key("child"), Body=b"x")
            os._exit(0 if fresh else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert id(s3.client()) == parent
    assert s3.read(address.bucket, address.key("child")) == b"x"


@pytest.mark.s3
def test_the_file_system_travels_without_credentials(s3_server):
    assert b"testing-secret" not in pickle.dumps(s3.filesystem())
