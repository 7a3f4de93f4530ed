import pytest
from botocore.exceptions import ClientError
from pyarrow import fs as arrow_fs

from pipelines import s3
from pipelines.ledger import refuse_owned
from pipelines.storage import open_storage, probe
from pipelines.storage.bucket import Bucket
from weakseg.errors import ResourceError

pytestmark = pytest.mark.s3


@pytest.fixture
def storage(s3_root) -> Bucket:
    return open_storage(s3_root)


def test_a_refusal_is_one_line_that_names_what_the_credentials_need(storage, monkeypatch):
    def refuse(**arguments):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "PutObject")

    monkeypatch.setattr(s3.client(attempts=4), "put_object", refuse)
    with pytest.raises(ResourceError, match=r"^storage\.root s3://.*access denied .*s3:PutObject"):
        storage.check()


@pytest.mark.parametrize(("condition", "name"), [("IfNoneMatch", "If-None-Match"), ("IfMatch", "If-Match")])
def test_a_server_that_ignores_conditions_is_refused(storage, monkeypatch, condition, name):
    put = s3.client().put_object

    def careless(**arguments):
        arguments.pop(condition, None)
        return put(**arguments)

    monkeypatch.setattr(s3.client(), "put_object", careless)
    with pytest.raises(ResourceError, match=rf"ignores puts under a condition \({name}\)"):
        storage.check()
    assert storage.list() == []


def test_the_right_to_see_unfinished_uploads_is_missed_at_the_start(storage, monkeypatch):
    """The owner of a run sweeps them."""

    def refuse(**arguments):
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListMultipartUploads")

    monkeypatch.setattr(s3.client(attempts=4), "list_multipart_uploads", refuse)
    with pytest.raises(ResourceError, match=r"access denied .*s3:ListBucketMultipartUploads"):
        storage.check()


def test_arrow_must_find_what_boto_wrote(storage, monkeypatch):
    """Ray Train and Tune go through it."""
    monkeypatch.setattr(
        s3, "filesystem", lambda **_: arrow_fs.SubTreeFileSystem("/nowhere", arrow_fs.LocalFileSystem())
    )
    with pytest.raises(ResourceError, match=r"^storage\.root s3://.*Arrow, and so Ray, does not find"):
        storage.check()
    assert storage.list() == []


def test_whether_a_run_is_owned_is_asked_for_no_longer_than_the_check(storage, monkeypatch):
    attempts, real = [], s3.client

    def client(**options):
        attempts.append(options.get("attempts"))
        return real(attempts=1)

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr(s3, "client", client)
    with pytest.raises(ResourceError, match="cannot connect to S3 at http://127.0.0.1:9"):
        refuse_owned(storage, "demo")
    assert attempts == [probe.ATTEMPTS]


def test_a_server_that_is_not_there_is_one_line_soon(storage, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(ResourceError, match="cannot connect to S3 at http://127.0.0.1:9"):
        storage.check()
