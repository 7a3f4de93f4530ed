"""The people of the annotation benchmark: what fails is counted."""

from benchmarks.engine import annotation


def test_a_server_that_fails_is_an_error_of_the_person(monkeypatch):
    person = annotation._Person("http://127.0.0.1:1/enter#token")

    def fail(path: str) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(person, "get", fail)
    person.work(1.0)
    assert person.errors == ["ConnectionError: gone"]
