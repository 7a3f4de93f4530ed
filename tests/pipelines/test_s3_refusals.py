import os

import pytest
from botocore.exceptions import ClientError

from pipelines import s3
from pipelines.s3_refusals import refusals
from weakseg.errors import ResourceError


@pytest.mark.s3
def test_no_such_bucket_is_one_line(s3_server):
    with pytest.raises(ResourceError, match=r"^storage\.root s3://none: there is no such bucket"):
        with refusals("storage.root s3://none"):
            s3.client().list_objects_v2(Bucket="weakseg-test-no-such-bucket")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "access denied .*s3:PutObject"),
        ("403", "access denied"),
        ("InvalidAccessKeyId", "credentials are not valid"),
        ("ExpiredToken", "renew"),
        ("PermanentRedirect", "AWS_REGION"),
        ("RequestTimeTooSkewed", "clock"),
        ("Odd", "S3 refuses PutObject .Odd: the message"),
    ],
)
def test_refusals_say_what_to_do(code, words):
    error = ClientError({"Error": {"Code": code, "Message": "the\nmessage"}}, "PutObject")
    with pytest.raises(ResourceError, match=words) as raised, refusals("storage.root s3://b"):
        raise error
    assert "\n" not in str(raised.value)


def test_who_only_reads_needs_no_right_to_write():
    error = ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")
    with pytest.raises(ResourceError, match=r"s3:ListBucket on the bucket and s3:GetObject below the prefix$"):
        with refusals("data.path s3://b", reading=True):
            raise error


def test_no_credentials_is_one_line(monkeypatch):
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(ResourceError, match="no AWS credentials found"), refusals("storage.root s3://b"):
        s3.client().list_objects_v2(Bucket="bucket")


def test_a_server_that_is_not_there_is_one_line_without_what_is_secret(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:hidden@127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    with (
        pytest.raises(ResourceError, match="cannot connect to S3 at http://127.0.0.1:9") as raised,
        refusals("storage.root s3://b"),
    ):
        s3.client(attempts=1).list_objects_v2(Bucket="bucket")
    assert "hidden" not in str(raised.value)
