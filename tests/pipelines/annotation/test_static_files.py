from pathlib import Path

import pytest
from fastapi import Request
from starlette.exceptions import HTTPException

from pipelines.annotation import static_files
from pipelines.annotation.static_files import static_file


def asked(**headers: str) -> Request:
    return Request({"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})


def test_a_file_is_sent_once_and_again_when_it_changes():
    page = static_files.STATIC / "page.css"
    page.write_text("a {}")
    first = static_file("page.css", asked())
    assert (first.status_code, first.body, first.media_type) == (200, b"a {}", "text/css; charset=utf-8")
    known = {"if-none-match": first.headers["etag"]}
    assert static_file("page.css", asked(**known)).status_code == 304
    page.write_text("b {}")
    assert static_file("page.css", asked(**known)).body == b"b {}"
    assert static_file("page.css", asked(**known), status=401).status_code == 401


@pytest.mark.parametrize("name", ["none.css", "../secret.css", "a/b.css", ".hidden.css", "page.py", "PAGE.css", ""])
def test_no_other_name_is_a_file(name: str, tmp_path: Path):
    (static_files.STATIC / "page.py").write_text("")
    (static_files.STATIC / ".hidden.css").write_text("")
    (static_files.STATIC.parent / "secret.css").write_text("")
    with pytest.raises(HTTPException) as raised:
        static_file(name, asked())
    assert raised.value.status_code == 404
