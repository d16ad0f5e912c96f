"""The files that deploy the server name nothing that it does not have, and fit one another."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import guard
from guard.given import from_environment
from guard.serving.config import ServeSettings
from guard.settings import parse_settings

ROOT = Path(guard.__file__).parents[1]
DEPLOY = ROOT / "guard" / "serving" / "deploy"
PATIENCE = 60


def read(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def settings(variables: dict[str, str]) -> ServeSettings:
    """Read settings as the server does, which fails on a name or a value that it does not take."""
    return parse_settings("", "f", ServeSettings, given=from_environment("CORNERGUARD_", variables))


def instructions() -> dict[str, list[str]]:
    """Return the arguments of a Dockerfile's instructions, each put into one line."""
    text = (DEPLOY / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    found: dict[str, list[str]] = {}
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
    return found


@pytest.fixture
def deployment() -> dict[str, Any]:
    (found,) = (each for each in read("kubernetes.yaml") if each["kind"] == "Deployment")
    return found


@pytest.fixture
def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]


@pytest.fixture
def of_pod(pod: dict[str, Any]) -> ServeSettings:
    variables = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert all(name.startswith("CORNERGUARD_") for name in variables)
    return settings(variables)


def test_the_image_listens_where_it_says_and_is_not_root() -> None:
    found = instructions()
    variables = dict(pair.split("=", 1) for line in found["ENV"] for pair in line.split())
    ours = settings({name: value for name, value in variables.items() if "CORNERGUARD" in name})
    assert found["EXPOSE"] == [f"{ours.grpc_port} {ours.http_port}"]
    assert ours.host == "0.0.0.0"
    assert f"http://127.0.0.1:{ours.http_port}/readyz" in found["HEALTHCHECK"][0]
    user = found["USER"][0].split(":")[0]
    assert int(user) > 0
    assert f"--uid {user}" in found["RUN"][-1]
    assert json.loads(found["ENTRYPOINT"][0]) == ["cornerguard"]
    assert json.loads(found["CMD"][0])[0] == "serve"
    # Every build argument that the file speaks of is one that it takes.
    spoken = re.findall(r"--build-arg (\w+)=", (DEPLOY / "Dockerfile").read_text())
    assert set(spoken) <= {argument.split("=")[0] for argument in found["ARG"]}
    assert found["FROM"][-1].startswith("python:")


def test_the_images_own_health_check_is_a_program(pod: dict[str, Any]) -> None:
    command = json.loads(instructions()["HEALTHCHECK"][0].partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")


def test_the_build_sees_all_that_a_wheel_is_made_of(tmp_path: Path) -> None:
    """The wheel is built from the allowed files alone, and carries the deployment's."""
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    packed = set(zipfile.ZipFile(io.BytesIO(wheel.read_bytes())).namelist())
    wanted = {path.relative_to(ROOT).as_posix() for path in DEPLOY.rglob("*") if path.is_file()}
    assert len(wanted) >= 6
    assert wanted <= packed
    assert "guard/serving/server.py" in packed


def test_compose_starts_what_exists() -> None:
    (compose,) = read("compose.yaml")
    services = compose["services"]
    assert set(services) == {"server", "prometheus", "grafana"}
    server = services["server"]
    ours = settings(server["environment"])
    inside = {int(port.rsplit(":", 1)[1]) for port in server["ports"]}
    assert inside == {ours.grpc_port, ours.http_port}
    assert _seconds(server["stop_grace_period"]) > ours.shutdown.notice + ours.shutdown.grace
    context = (DEPLOY / server["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / server["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert set(server["build"]["args"]) <= {arg.split("=")[0] for arg in instructions()["ARG"]}
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), volume
            elif not source.startswith("$"):
                assert source in compose["volumes"]
        assert ":" in service.get("image", "")


def test_prometheus_and_grafana_find_the_server_and_one_another() -> None:
    (compose,), (prometheus,) = read("compose.yaml"), read("prometheus.yaml")
    services = compose["services"]
    (job,) = prometheus["scrape_configs"]
    ((host, port),) = [target.split(":") for target in job["static_configs"][0]["targets"]]
    ours = settings(services[host]["environment"])
    assert (int(port), job["metrics_path"]) == (ours.http_port, "/metrics")
    (sources,) = read("grafana/provisioning/datasources/prometheus.yaml")
    name, port = sources["datasources"][0]["url"].removeprefix("http://").split(":")
    assert any(each.endswith(f":{port}") for each in services[name]["ports"])
    (folder,) = read("grafana/provisioning/dashboards/folder.yaml")
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert folder["providers"][0]["options"]["path"] == mounted["./grafana"] + "/dashboards"
    environment = services["grafana"]["environment"]
    assert environment["GF_PATHS_PROVISIONING"] == mounted["./grafana"] + "/provisioning"


def test_kubernetes_probes_ports_that_are_listened_on(
    pod: dict[str, Any], of_pod: ServeSettings
) -> None:
    container = pod["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    wanted = {"grpc": of_pod.grpc_port, "http": of_pod.http_port, "probe": of_pod.probe_port}
    assert ports == wanted
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == of_pod.probe_port
    assert container["livenessProbe"]["grpc"]["service"] == "liveness"
    services = [each for each in read("kubernetes.yaml") if each["kind"] == "Service"]
    for port in (port for service in services for port in service["spec"]["ports"]):
        assert port["port"] == ports[port["targetPort"]]


def test_kubernetes_gives_the_server_the_time_that_it_takes(
    pod: dict[str, Any], of_pod: ServeSettings
) -> None:
    """And readiness is noticed within `notice`, while requests are still taken."""
    shutdown, probe = of_pod.shutdown, pod["containers"][0]["readinessProbe"]
    assert pod["terminationGracePeriodSeconds"] > shutdown.notice + shutdown.grace
    noticed = probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"])
    assert noticed < shutdown.notice


def test_kubernetes_runs_it_with_no_rights_as_the_images_user(pod: dict[str, Any]) -> None:
    user = int(instructions()["USER"][0].split(":")[0])
    assert pod["securityContext"]["runAsUser"] == user
    assert pod["securityContext"]["runAsNonRoot"] is True
    container = pod["containers"][0]["securityContext"]
    assert container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert pod["enableServiceLinks"] is False


def test_what_is_commented_out_of_kubernetes_is_right_too() -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text()
    whole = re.sub(r"(?m)^(\s*)# (- \{name: )", r"\1\2", text)
    assert whole != text
    (deployment, *_) = yaml.safe_load_all(whole)
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ours = settings({each["name"]: each["value"] for each in container["env"]})
    mounts = {Path(each["mountPath"]): each["name"] for each in container["volumeMounts"]}
    volumes = {each["name"] for each in pod["volumes"]}
    assert set(mounts.values()) == volumes
    for file in (ours.tls.certificate, ours.tls.key, ours.tokens.file):
        assert file is not None
        assert file.parent in mounts


def test_labels_and_selectors_agree(deployment: dict[str, Any]) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for each in read("kubernetes.yaml"):
        selector = each["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items()


def test_kubectl_knows_every_field_of_the_deployment(deployment: dict[str, Any]) -> None:
    """kubectl's own types drop a field that they do not have, so each must come back."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl: the manifest was read by PyYAML alone")
    done = subprocess.run(
        ["kubectl", "set", "env", "--local", "-f", "-", "A=b", "-o", "json"],
        input=yaml.safe_dump(deployment),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    back = json.loads(done.stdout)
    assert [path for path in _paths(deployment) if path not in set(_paths(back))] == []


def test_docker_compose_reads_the_file() -> None:
    if (
        not shutil.which("docker")
        or subprocess.run(
            ["docker", "compose", "version"], capture_output=True, timeout=PATIENCE, check=False
        ).returncode
    ):
        pytest.skip("no docker compose: the file was read by PyYAML alone")
    done = subprocess.run(
        ["docker", "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "BUNDLE": "/b", "GRAFANA_PASSWORD": "p"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each leaf of JSON, with the leaf."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _paths(inner, (*path, key))
        return
    yield (*path, value)
