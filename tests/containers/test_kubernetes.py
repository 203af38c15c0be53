"""The manifests: each by Kubernetes' own schema, strictly, and one against another and the program."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from tests.containers.stopping import stop_seconds

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "etc" / "kubernetes"
OLDEST, NEWEST = "1.30", "1.37"  # of the schemas that the validator brings
FOREIGN = {"Kustomization", "Component", "ServiceMonitor"}  # no kinds of Kubernetes itself
#: In CI, too: Debian 12 has none that is new enough.
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@cache
def written() -> list[dict[str, Any]]:
    """Every document of every manifest."""
    files = sorted(MANIFESTS.rglob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


@cache
def rendered() -> list[dict[str, Any]]:
    """What `kubectl apply -k` of the example would send."""
    command = ["kubectl", "kustomize", str(MANIFESTS / "overlays" / "example")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


def the(kind: str, name: str = "boltlink") -> dict[str, Any]:
    """The manifest of this kind and name."""
    (found,) = (each for each in written() if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def pods() -> list[dict[str, Any]]:
    """What pods are made from."""
    return [the("StatefulSet")["spec"]["template"]["spec"], the("Job", "boltlink-drain-5")["spec"]["template"]["spec"]]


POD = pods()[0]
CONTAINER: dict[str, Any] = POD["containers"][0]
LABELS: dict[str, str] = the("StatefulSet")["spec"]["template"]["metadata"]["labels"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


def validate(document: dict[str, Any]) -> None:
    if document["kind"] not in FOREIGN:
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(document, version, strict=True)


def test_kubernetes_takes_every_manifest_and_nothing_that_is_misspelled() -> None:
    kinds = [document["kind"] for document in written()]
    assert len([kind for kind in kinds if kind not in FOREIGN]) == 9
    for document in written():
        validate(document)
    with pytest.raises(kubernetes_validate.ValidationError):
        validate({**the("StatefulSet"), "spec": {**the("StatefulSet")["spec"], "replica": 2}})


@needs_kubectl
def test_the_example_renders_to_what_kubernetes_takes() -> None:
    for document in rendered():
        validate(document)
    kinds = {document["kind"] for document in rendered()}
    assert kinds == {document["kind"] for document in written()} - {"Kustomization", "Component", "Job"} | {"Secret"}
    (pod,) = (each["spec"]["template"]["spec"] for each in rendered() if each["kind"] == "StatefulSet")
    (secret,) = (each["metadata"]["name"] for each in rendered() if each["kind"] == "Secret")
    assert secret.startswith("boltlink-settings-")
    assert pod["volumes"][0]["secret"]["secretName"] == secret


@needs_kubectl
def test_every_component_fits_the_base(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes" / "overlays" / "example" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("# - ../../components", "- ../../components"))
    done = subprocess.run(["kubectl", "kustomize", overlay.parent], check=True, capture_output=True, text=True)
    documents = list(yaml.safe_load_all(done.stdout))
    (pod,) = (each["spec"]["template"]["spec"] for each in documents if each["kind"] == "StatefulSet")
    assert pod["securityContext"]["sysctls"] == [{"name": "net.ipv4.tcp_migrate_req", "value": "1"}]
    for document in documents:
        validate(document)


def test_ports_are_those_of_the_image_and_every_name_of_one_is_known() -> None:
    given = dict(re.findall(r"(BOLTLINK_\w*PORT)=(\d+)", (ROOT / "Dockerfile").read_text()))
    expected = {"http": int(given["BOLTLINK_PORT"]), "metrics": int(given["BOLTLINK_METRICS_PORT"])}
    assert expected == PORTS
    for name in ("boltlink", "boltlink-nodes"):
        assert {port["targetPort"] for port in the("Service", name)["spec"]["ports"]} <= PORTS.keys()
    allowed = {port["port"] for rule in the("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]}
    assert allowed == PORTS.keys()
    backend = the("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["port"]["name"] in {port["name"] for port in the("Service", backend["name"])["spec"]["ports"]}
    scraped = {endpoint["port"] for endpoint in the("ServiceMonitor")["spec"]["endpoints"]}
    assert scraped <= {port["name"] for port in the("Service", "boltlink-nodes")["spec"]["ports"]}


def test_selectors_find_the_pods_and_nothing_else_of_ours() -> None:
    selectors = [
        the("StatefulSet")["spec"]["selector"]["matchLabels"],
        the("Service")["spec"]["selector"],
        the("Service", "boltlink-nodes")["spec"]["selector"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
    ]
    assert all(selector == LABELS for selector in selectors)
    assert the("StatefulSet")["spec"]["serviceName"] == the("Service", "boltlink-nodes")["metadata"]["name"]
    monitored = the("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= the("Service", "boltlink-nodes")["metadata"]["labels"].items()
    assert not monitored.items() <= the("Service")["metadata"]["labels"].items()
    target = the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert the(target["kind"], target["name"])["apiVersion"] == target["apiVersion"]


def test_probes_ask_paths_that_there_are() -> None:
    from app.api import ROUTES

    paths = {path for path, _ in ROUTES}
    asked = {probe: CONTAINER[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    assert {get["path"].partition("?")[0] for get in asked.values()} <= paths
    assert {get["port"] for get in asked.values()} == {"http"}
    assert asked["readiness"]["path"] == "/ready?degraded=ok"


@pytest.mark.parametrize("pod", pods(), ids=["StatefulSet", "Job"])
def test_pods_run_as_the_image_and_may_nothing(pod: dict[str, Any]) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    context, (container,) = pod["securityContext"], pod["containers"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert context["fsGroup"] == int(user[2])
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]
    version = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert version is not None
    assert container["image"] == f"boltlink:{version[1]}"
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("pod", pods(), ids=["StatefulSet", "Job"])
def test_settings_come_from_a_file_that_only_the_group_may_read(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    known = {row["variable"]: row for row in Settings.table()}
    assert [variable["name"] for variable in container["env"]] == ["BOLTLINK_SETTINGS_FILE"]
    assert container["env"][0]["value"] == f"{mounts['settings']}/boltlink.env"
    (secret,) = (volume["secret"] for volume in pod["volumes"] if volume["name"] == "settings")
    assert secret["defaultMode"] & 0o007 == 0
    assert secret["defaultMode"] & 0o040
    assert mounts["state"] == "/var/lib/boltlink"
    assert "BOLTLINK_STATE_DIR" in known


def test_the_settings_of_the_example_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "boltlink.env"
    shutil.copy(MANIFESTS / "overlays" / "example" / "boltlink.env", file)
    file.chmod(0o440)
    settings = Settings.from_environ({"BOLTLINK_SETTINGS_FILE": str(file)})
    assert settings.mongodb_url is not None
    assert settings.base_url == "https://go.example.org"


def test_a_pod_has_the_time_to_drain_and_to_stop() -> None:
    program, *words = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert (program, words[0]) == ("sh", "-c")
    waits = re.fullmatch(r"sleep (\d+); exec boltlink journal drain --limit (\d+)", words[1])
    assert waits is not None
    assert POD["terminationGracePeriodSeconds"] > int(waits[1]) + int(waits[2]) + stop_seconds()


def test_the_volume_of_a_job_is_one_that_the_stateful_set_makes() -> None:
    (template,) = the("StatefulSet")["spec"]["volumeClaimTemplates"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pods()[1]["volumes"] if "secret" not in volume]
    assert claims == [f"{template['metadata']['name']}-boltlink-5"]
    assert the("StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Retain"
