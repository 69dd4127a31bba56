"""The manifests for Kubernetes and the unit for systemd, and the commands of their guides."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrypoints.cli import COMMANDS
from entrypoints.settings import Settings
from tests.test_documents import ROOT, blocks

EXAMPLES = ROOT / "docs" / "examples"
UNIT = EXAMPLES / "systemd" / "hextasks.service"
SCHEMAS = ROOT / ".tools" / "kubernetes"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KUBERNETES = "docs/guides/kubernetes.md"
VERSIONS = "1.30", "1.37"
VALIDATE = """
import json, sys, kubernetes_validate
for document in json.load(sys.stdin):
    for version in %r:
        kubernetes_validate.validate(document, version, strict=True)
"""


@cache
def manifests() -> dict[str, Any]:
    """Return the manifests by kind and name."""
    files = sorted((EXAMPLES / "kubernetes").iterdir())
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    return {f"{each['kind']}/{each['metadata']['name']}".lower(): each for each in documents}


def pods() -> list[dict[str, Any]]:
    return [each["spec"]["template"] for each in manifests().values() if each["kind"] in ("Deployment", "Job")]


def calls_of_kubectl(tmp_path: Path) -> list[list[str]]:
    """Run the commands of the guide with a program that takes down its arguments, as there is no cluster."""
    program, calls = tmp_path / "kubectl", tmp_path / "calls"
    program.write_text('#!/bin/sh\nprintf "%s\\t" "$@" >>"$CALLS"; echo >>"$CALLS"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    script = "set -euo pipefail\n" + "".join(blocks(KUBERNETES, "shell"))
    subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, check=True)
    return [line.split("\t")[:-1] for line in calls.read_text().splitlines()]


@pytest.mark.skipif(not (SCHEMAS / ".ready").exists(), reason="`make test-image` installs the schemas of Kubernetes")
@pytest.mark.slow
def test_the_manifests_are_valid() -> None:
    command: tuple[str | Path, ...] = (SCHEMAS / "bin" / "python", "-c", VALIDATE % (VERSIONS,))
    subprocess.run(command, input=json.dumps([*manifests().values()]), text=True, check=True)


def test_what_stops_the_service_waits_for_it() -> None:
    """For 30 seconds longer than the delay, as docs/guides/upgrade.md says. A preStop hook would be a second delay."""
    pod = manifests()["deployment/hextasks"]["spec"]["template"]["spec"]
    replica = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["service-1"]
    (seconds_of_systemd,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    for delay, seconds in (
        (manifests()["configmap/hextasks"]["data"]["SHUTDOWN_DELAY"], pod["terminationGracePeriodSeconds"]),
        (replica["environment"]["SHUTDOWN_DELAY"], replica["stop_grace_period"].removesuffix("s")),
        (0, seconds_of_systemd),
    ):
        assert int(seconds) >= int(delay) + 30
    assert "lifecycle" not in pod["containers"][0]


def test_the_guide_applies_every_manifest_and_names_what_they_define(tmp_path: Path) -> None:
    calls = calls_of_kubectl(tmp_path)
    applied = {ROOT / path for verb, *rest in calls if verb == "apply" for path in rest[1:]}
    assert applied == set((EXAMPLES / "kubernetes").iterdir())
    named = {word for _, *rest in calls for word in rest if re.fullmatch(r"[a-z]+/[a-z-]+", word)}
    deleted = {f"{rest[0]}/{rest[1]}" for verb, *rest in calls if verb == "delete"}
    assert deleted == {"job/hextasks-migrate"}
    assert named == {"job/hextasks-migrate", "deployment/hextasks"} <= manifests().keys()


def test_each_container_has_settings_that_are_valid_in_production(tmp_path: Path) -> None:
    built = dict(re.findall(r"([A-Z_]+)=([\w.]+)", DOCKERFILE[DOCKERFILE.rindex("\nENV ") :].partition("\nUSER")[0]))
    secrets = {
        rest[2]: dict([rest[3].removeprefix("--from-literal=").split("=", 1)])
        for verb, *rest in calls_of_kubectl(tmp_path)
        if verb == "create"
    }
    for pod in pods():
        [container] = pod["spec"]["containers"]
        sources = container["envFrom"]
        [config] = [source["configMapRef"]["name"] for source in sources if "configMapRef" in source]
        [secret] = [source["secretRef"]["name"] for source in sources if "secretRef" in source]
        settings = Settings.load(built | manifests()[f"configmap/{config}"]["data"] | secrets[secret], None)
        assert settings.in_production
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        assert ports in ({}, {"http": settings.port, "admin": settings.admin_port})
        assert set(container.get("args", [])) <= set(COMMANDS)


def test_pods_have_no_privileges() -> None:
    assert re.search(r"^USER ([1-9]\d*):\1$", DOCKERFILE, re.MULTILINE), "a number, which runAsNonRoot can check"
    for pod in pods():
        [container] = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_selectors_find_the_pods_of_the_service_alone() -> None:
    selectors = [
        manifests()["deployment/hextasks"]["spec"]["selector"]["matchLabels"],
        manifests()["service/hextasks"]["spec"]["selector"],
        manifests()["poddisruptionbudget/hextasks"]["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        found = [pod for pod in pods() if selector.items() <= pod["metadata"]["labels"].items()]
        assert found == [manifests()["deployment/hextasks"]["spec"]["template"]]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.slow
def test_the_unit_is_valid(tmp_path: Path) -> None:
    (tmp_path / "hextasks.service").write_text(UNIT.read_text().replace("/opt/hextasks", str(ROOT / ".venv")))
    command = ("systemd-analyze", "verify", "--man=no", tmp_path / "hextasks.service")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("document", ["docs/guides/docker.md", "docs/guides/systemd.md"])
def test_commands_that_need_docker_have_no_error_of_syntax(document: str) -> None:
    subprocess.run(["bash", "-n", "-c", "".join(blocks(document, "shell"))], check=True)
