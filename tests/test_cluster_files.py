"""What lies ready for a cluster: cluster.yaml, the Dockerfile, what a job uploads, and the manifest in the README."""

import copy
import json
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray._private.runtime_env.packaging import create_package
from ray._private.runtime_env.validation import parse_and_validate_env_vars
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.runtime_env import RuntimeEnv

ROOT = Path(__file__).parents[1]
IMAGE = "2.60.0-py311-gpu"
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
NODES = CLUSTER["available_node_types"]
README = (ROOT / "README.md").read_text()
FILES = ["cluster.yaml", "Dockerfile", "pipelines/runtime_env.yaml", ".rayignore", "README.md"]


def test_rays_own_schema_and_checks_accept_the_cluster():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(CLUSTER, schema)
    full = prepare_config(copy.deepcopy(CLUSTER))
    validate_config(full)
    assert full["setup_commands"] == full["head_setup_commands"] == full["worker_setup_commands"] == []


def test_the_driver_is_safe_and_the_rest_is_cheap():
    head = NODES[CLUSTER["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert head["resources"]["driver"] >= 1
    assert "InstanceMarketOptions" not in head["node_config"]
    workers = {name: node for name, node in NODES.items() if name != CLUSTER["head_node_type"]}
    assert sum("GPU" in node["resources"] for node in workers.values()) == 1
    for node in workers.values():
        assert node["min_workers"] == 0 < node["max_workers"]
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert "driver" not in node["resources"]
    assert all("IamInstanceProfile" in node["node_config"] for node in NODES.values())
    assert CLUSTER["max_workers"] == sum(node["max_workers"] for node in workers.values())


def test_only_who_has_the_token_gets_in():
    assert "--env RAY_AUTH_MODE=token" in CLUSTER["docker"]["run_options"]
    assert "~/.ray/auth_token" in CLUSTER["file_mounts"].values()
    (start,) = [command for command in CLUSTER["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start


@pytest.mark.parametrize("name", FILES)
def test_no_file_holds_a_secret(name: str):
    text = (ROOT / name).read_text()
    for pattern in (
        r"AKIA[0-9A-Z]{16}",
        r"(?i)(secret|password|token)\w*\s*[:=]\s*[\"']?[A-Za-z0-9+/]{16,}",
        r"\w://[^\s/@:]+:[^\s/@]+@",
        r"-----BEGIN",
    ):
        assert not re.search(pattern, text), (name, pattern)


def test_every_image_has_the_ray_and_python_that_the_project_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = [line for line in project["optional-dependencies"]["pipelines"] if line.startswith("ray[")]
    (least,) = re.findall(r">=([\d.]+)", bound)
    assert IMAGE.startswith(f"{least}.")
    python = project["requires-python"].removeprefix(">=")
    assert f"-py{python.replace('.', '')}-" in IMAGE
    assert CLUSTER["docker"]["image"].endswith(f":{IMAGE}")
    docker = (ROOT / "Dockerfile").read_text()
    assert f"ARG RAY={IMAGE.split('-')[0]}\n" in docker
    assert "FROM rayproject/ray:${RAY}-py311-${DEVICE}\n" in docker
    named = re.findall(r"weakseg:(\S+)", README)
    assert named
    assert set(named) <= {IMAGE, IMAGE.replace("gpu", "cpu")}


def test_the_dockerfile_copies_what_is_there_and_ends_as_a_plain_user():
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert {word for word, _ in lines} <= {"ARG", "FROM", "ENV", "USER", "WORKDIR", "COPY", "RUN"}
    sources = []
    for word, rest in lines:
        if word == "COPY":
            sources += [part for part in rest.split() if not part.startswith("--")][:-1]
    assert {"pyproject.toml", "weakseg", "pipelines"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)
    assert [rest for word, rest in lines if word == "USER"][-1] == "ray"
    assert "PIP_NO_CACHE_DIR=1" in text
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (asked,) = re.findall(r'"\.\[([\w,]+)\]"', text)
    assert set(asked.split(",")) <= set(extras)


def test_the_runtime_environment_is_one_that_ray_takes():
    content = yaml.safe_load((ROOT / "pipelines/runtime_env.yaml").read_text())
    assert set(content) == {"env_vars"}
    assert parse_and_validate_env_vars(content["env_vars"]) == content["env_vars"]
    assert not [name for name in content["env_vars"] if re.search(r"(TOKEN|PASSWORD|SECRET|KEY)(_|$)", name)]


def test_a_job_uploads_little_and_all_that_it_needs(tmp_path: Path):
    clone = tmp_path / "weakseg"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    for left in ("data/big.bin", "weakseg-data/pool.bin", ".venv/lib.bin", "mlruns/model.bin", "tests/x.bin"):
        (clone / left).parent.mkdir(exist_ok=True)
        (clone / left).write_bytes(b"x" * 2**20)
    (clone / "mlflow.db").write_bytes(b"x" * 2**20)
    target = tmp_path / "package.zip"
    create_package(str(clone), target, include_gitignore=True, include_parent_dir=False)
    names = set(zipfile.ZipFile(target).namelist())
    assert target.stat().st_size < 2 * 2**20
    files = subprocess.run(["git", "-C", str(clone), "ls-files"], capture_output=True, text=True, check=True).stdout
    needed = {name for name in files.splitlines() if name.startswith(("weakseg/", "pipelines/"))}
    assert needed <= names
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert folders == {"weakseg", "pipelines"}
    assert "mlflow.db" not in names


def _manifest() -> dict[str, Any]:
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "kind: RayJob" in block]
    return yaml.safe_load(block)


def test_the_manifest_in_the_readme_is_the_same_cluster():
    manifest = _manifest()
    assert manifest["apiVersion"] == "ray.io/v1"
    spec = manifest["spec"]
    assert spec["submissionMode"] == "K8sJobMode"
    assert spec["shutdownAfterJobFinishes"] is True
    assert json.loads(spec["entrypointResources"]) == {"driver": 1}
    given = yaml.safe_load(spec["runtimeEnvYAML"])
    RuntimeEnv(**given)
    assert (
        given["env_vars"].items()
        <= yaml.safe_load((ROOT / "pipelines/runtime_env.yaml").read_text())["env_vars"].items()
    )
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == IMAGE.split("-")[0]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert json.loads(json.loads(head["rayStartParams"]["resources"])) == {"driver": 100}
    assert {group["groupName"] for group in workers} == {"cpu", "gpu"}
    for group in workers:
        assert group["minReplicas"] == 0 < group["maxReplicas"]
        assert group["template"]["spec"]["restartPolicy"] == "Never"
    for group in (head, *workers):
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"].endswith(IMAGE)
        secrets = [variable for variable in container.get("env", []) if "TOKEN" in variable["name"]]
        assert all("secretKeyRef" in variable["valueFrom"] for variable in secrets)
        assert not secrets or group is head
