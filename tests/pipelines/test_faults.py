from ray.exceptions import RayTaskError

from pipelines.faults import users_fault
from weakseg.errors import DataError


def test_a_workers_fault_is_found_inside_rays_own_error():
    ours = DataError("mask of another size")
    wrapped = RayTaskError("stage", "Traceback ...", ours).as_instanceof_cause()
    assert isinstance(wrapped, DataError)
    assert str(wrapped) != str(ours)
    assert users_fault(wrapped) is ours

    training = RuntimeError("worker group")
    training.worker_failures = {0: KeyError("x"), 1: wrapped}
    outer = RuntimeError("fit")
    outer.__cause__ = training
    assert users_fault(outer) is ours
    assert users_fault(KeyError("x")) is None
