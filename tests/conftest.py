"""Fixtures for all tests: one Ray and one migrated MLflow database per session, and the real data where they are."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["servers.s3", "servers.faulty_s3", "servers.postgres", "servers.mlflow_server"]

# Before anything imports ray, mlflow or torch, and inherited by every process that a test starts.
os.environ.update(
    RAY_AUTH_MODE="disabled",  # a local ray.init would write a token into the home folder
    RAY_USAGE_STATS_ENABLED="0",
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.2",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="1",  # a task that asked for no GPU sees none
    MLFLOW_DISABLE_TELEMETRY="true",
    HF_HUB_OFFLINE="1",  # no test may need the network
    OMP_NUM_THREADS="1",  # another thread count gives other bits
    MPLBACKEND="Agg",
)
# What the machine's owner has set must not reach the tests.
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "RAY_ADDRESS", "CAMVID", "DUBAI", "WEAKSEG_SQUEEZENET"):
    os.environ.pop(name, None)

# Other work may share the machine: a slow example is no failure.
settings.register_profile("weakseg", deadline=None)
settings.load_profile("weakseg")


LONGEST = ("test_job.py", "test_mixed.py", "test_whole_run.py")
"""Files of one test of minutes with Ray."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses the session's Ray is marked so, also where a fixture in between starts it.

    Side by side they go by file, or all together where they look at the finished run, which takes a minute to make.
    Files of one long test come first: begun last, it would go on alone.
    """
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "ray_session" in fixtures:
            item.add_marker("ray")
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))  # their fixtures' time included
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("finished" if "finished_run" in fixtures else item.path.name))


@pytest.fixture(scope="session")
def ray_session(s3_environment: object) -> Iterator[str]:
    """The session's one Ray (4 logical CPUs, 150 MiB of object store, no dashboard); gives its address.

    Its workers find the session's S3 server by the environment that they inherit, whether or not it is started.
    """
    import ray

    context = ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=150 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with the real data sets; skips where there is none."""
    folder = os.environ.get("WEAKSEG_TEST_DATA")
    if not folder:
        pytest.skip("WEAKSEG_TEST_DATA is not set: no real data on this machine")
    if not Path(folder).is_dir():
        pytest.skip(f"WEAKSEG_TEST_DATA={folder} is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database whose tables exist: making them takes seconds, so it is done once."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow_uri(migrated_database: Path, tmp_path: Path) -> str:
    """The URI of an empty MLflow database of this test's own."""
    return f"sqlite:///{shutil.copy(migrated_database, tmp_path / 'mlflow.db')}"
