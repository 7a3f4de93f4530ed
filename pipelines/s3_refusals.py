"""What S3 refuses, as one line that a user can act on."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore import exceptions as boto

from weakseg.errors import ResourceError

_READING = "s3:ListBucket on the bucket and s3:GetObject below the prefix"

_WRITING = (
    "s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, "
    "and s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload below the prefix"
)


def code(error: boto.ClientError) -> str:
    """S3's name of what is wrong, or the HTTP status where the reply had no body: NoSuchKey, 404, ..."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def refusals(what: str, *, reading: bool = False) -> Iterator[None]:
    """Turn what S3 refuses for good into the one line that a user can act on; what passes was tried again before.

    Args:
        what: The setting and its address: ``storage.root s3://bucket/prefix``. Never anything secret.
        reading: Whether nothing is ever written there, for which fewer rights will do.

    Raises:
        ResourceError: For any of boto's errors in the block.
    """
    try:
        yield
    except boto.ClientError as error:
        raise ResourceError(f"{what}: {_refusal(error, reading)}") from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise ResourceError(
            f"{what}: no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
            "or give the machine a role"
        ) from error
    except (boto.TokenRetrievalError, boto.CredentialRetrievalError, boto.ProfileNotFound) as error:
        raise ResourceError(
            f"{what}: the AWS credentials cannot be read ({error}); see `aws configure list`"
        ) from error
    except (boto.HTTPClientError, boto.ConnectionError) as error:
        where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        named = without_credentials(where) if where else "AWS"
        raise ResourceError(
            f"{what}: cannot connect to S3 at {named} ({type(error).__name__}); "
            "start the server or put AWS_ENDPOINT_URL_S3 and the network right"
        ) from error
    except (boto.BotoCoreError, Boto3Error) as error:
        raise ResourceError(f"{what}: S3 cannot be used ({one_line(error)})") from error


def _refusal(error: boto.ClientError, reading: bool) -> str:
    """What S3 refuses and what to do about it."""
    refused = f"{error.operation_name}: {code(error)}"
    match code(error):
        case "NoSuchBucket":
            return "there is no such bucket; create it or name another"
        case "AccessDenied" | "403" | "AllAccessDisabled" | "AccountProblem":
            return f"access denied ({refused}); the credentials need {_READING if reading else _WRITING}"
        case (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "401"
            | "InvalidClientTokenId"
        ):
            return f"the AWS credentials are not valid ({refused}); renew them"
        case "RequestTimeTooSkewed":
            return "this machine's clock is wrong; set it"
        case "PermanentRedirect" | "301" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException":
            return f"the bucket is in another region ({refused}); set AWS_REGION to its region"
        case name:
            message = str(error.response.get("Error", {}).get("Message", ""))
            return f"S3 refuses {error.operation_name} ({name}: {one_line(message)})"


def one_line(error: object) -> str:
    """An error's words, whatever breaks and indents them."""
    return " ".join(str(error).split())


def without_credentials(url: str) -> str:
    """An address without the user and password in it."""
    return re.sub(r"//[^/@]*@", "//", url)
