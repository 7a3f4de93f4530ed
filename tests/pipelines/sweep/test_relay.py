import pytest

from pipelines.sweep.relay import RelayedTracker, _plain, relayed
from weakseg.errors import ResourceError

pytestmark = pytest.mark.ray


class Recorder:
    """A tracker that writes down what it is asked."""

    def __init__(self):
        self.asked = []

    def run(self, key, *, name, parent_run_id=None):
        self.asked.append((key, name, parent_run_id))
        return f"id of {name}"

    def finish(self, run_id, status="FINISHED"):
        raise ResourceError(f"{run_id}: no server")

    def end(self, run_id, status):
        self.asked.append((run_id, status))


def test_calls_are_carried_out_by_the_driver_and_answers_and_errors_come_back(ray_session: str):
    import ray

    recorder = Recorder()

    @ray.remote(num_cpus=0)
    def trial(mailbox):
        from weakseg.errors import ResourceError

        tracker = RelayedTracker(mailbox)
        given = tracker.run("k", name="t", parent_run_id="p")
        tracker.run("k/0", name="t/0", parent_run_id=given)
        try:
            tracker.finish(given)
        except ResourceError as error:
            tracker.end(given, "FAILED")
            return given, str(error)

    with relayed(recorder) as relay:
        assert ray.get(trial.remote(relay.mailbox)) == ("id of t", "id of t: no server")
        assert relay.opened == {"t": "id of t", "t/0": "id of t/0"}
    started, ended = [("k", "t", "p"), ("k/0", "t/0", "id of t")], [("id of t", "FAILED")]
    assert recorder.asked == started + ended


def test_no_password_travels_to_a_trial():
    error = ResourceError("API request to http://me:hunter2@server/api failed")
    assert str(_plain(error)) == "ResourceError: API request to http://me:***@server/api failed"
    plain = ResourceError("no server")
    assert _plain(plain) is plain


def test_a_trial_reaches_nothing_else():
    with pytest.raises(AttributeError, match="a trial's tracker has no client"):
        _ = RelayedTracker(None).client
