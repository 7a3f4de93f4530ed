import sqlite3

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.annotation.desk import Refused
from pipelines.annotation.replies import NoSession, add_handlers, refused
from weakseg.errors import ResourceError


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (NoSession(), 401, "no_session"),
        (Refused("not_yours", "This image is somebody else's."), 403, "not_yours"),
        (Refused("lease_lost", "Gone."), 409, "lease_lost"),
        (OSError("disk full"), 503, "not_stored"),
        (sqlite3.OperationalError("locked"), 503, "not_stored"),
        (ResourceError("s3://secret: no"), 503, "not_stored"),
    ],
)
def test_every_fault_is_json_that_the_pages_know(fault: Exception, status: int, code: str):
    app = FastAPI()
    add_handlers(app)

    @app.get("/")
    def fail() -> None:
        raise fault

    reply = TestClient(app, raise_server_exceptions=False).get("/")
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert "secret" not in reply.text
    assert "disk full" not in reply.text


def test_a_refusal_names_the_answer_of_a_batch():
    assert b'"index":2' in refused(Refused("bad_request", "No."), index=2).body
