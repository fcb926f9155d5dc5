"""What a container is made with; no engine is needed."""

from pathlib import Path
from typing import Any

from limpet.ids import BootId, Handle
from limpet.runners.docker_container import (
    DockerOptions,
    Names,
    certificate_files,
    container_config,
)
from limpet.runners.docker_network import filter_rules, network_config
from limpet.runners.egress import Refusals, networks_of
from limpet.runners.limits import Limits

NAMES = Names("0123456789abcdef")
HANDLE = Handle("calm-1")


def made(
    environ: dict[str, str], *, closed: bool = False, options: DockerOptions | None = None
) -> dict[str, Any]:
    return container_config(
        options or DockerOptions(),
        NAMES,
        HANDLE,
        boot_id=BootId("b"),
        closed=closed,
        environ=environ,
        variables={},
        certificates=certificate_files(environ),
        app_origins=["http://127.0.0.1:7070"],
    )


def variables(config: dict[str, Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in config["Env"])


def test_no_secret_and_no_path_of_this_machine_is_told(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN")
    environ = {
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "LIMPET_SECRET_KEY": "s3cret",
        "npm_config__authToken": "s3cret",
        "npm_config_cache": "/home/ann/.npm",
        "npm_config_registry": "https://npm.example/",
        "SSL_CERT_DIR": "/etc/ssl/certs",
        "SSL_CERT_FILE": str(bundle),
        "NODE_EXTRA_CA_CERTS": str(bundle),
        "PIP_CERT": "/nowhere/ca.pem",
        "https_proxy": "http://proxy.example:3128",
    }
    config = made(environ)
    assert "s3cret" not in str(config)
    told = variables(config)
    assert not {"npm_config_cache", "SSL_CERT_DIR", "PIP_CERT"} & set(told)
    assert told["npm_config_registry"] == "https://npm.example/"
    assert told["https_proxy"] == "http://proxy.example:3128"
    assert told["SSL_CERT_FILE"] == told["NODE_EXTRA_CA_CERTS"] == "/etc/limpet-certificates/0.pem"
    assert config["HostConfig"]["Binds"] == [f"{bundle}:/etc/limpet-certificates/0.pem:ro"]
    assert "https_proxy" not in variables(made(environ, closed=True))


def test_limits_are_given_to_the_engine_and_none_is_none() -> None:
    limits = Limits(memory_bytes=1 << 30, pids=99, cpus=1.5, file_bytes=1 << 20)
    host = made({}, options=DockerOptions(limits=limits, runtime="runsc"))["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 1 << 30
    assert (host["PidsLimit"], host["NanoCpus"]) == (99, 1_500_000_000)
    assert host["Ulimits"] == [{"Name": "fsize", "Soft": 1 << 20, "Hard": 1 << 20}]
    assert host["Runtime"] == "runsc"
    free = made({})["HostConfig"]
    assert not {"Memory", "PidsLimit", "NanoCpus", "Ulimits", "Runtime"} & set(free)


def test_the_rules_name_both_bridges_and_what_is_refused() -> None:
    rules = filter_rules(NAMES, Refusals(denied=networks_of("10.0.0.0/8, 2001:db8::/32")).networks)
    for closed in (False, True):
        config = network_config(NAMES, closed=closed)
        bridge = config["Options"]["com.docker.network.bridge.name"]
        assert rules.count(f'"{bridge}"') >= 5
        assert config["Internal"] is closed
    assert "169.254.0.0/16" in rules
    assert "10.0.0.0/8" in rules
    assert "2001:db8::/32" in rules
    assert "accept" not in rules.replace("policy accept", "").replace("related accept", "")


def test_names_fit_where_they_go() -> None:
    bridges = {NAMES.bridge(closed=closed) for closed in (False, True)}
    assert len(bridges) == 2
    assert all(len(bridge) <= 15 for bridge in bridges)
    assert len(NAMES.container(Handle("x" * 48))) <= 128
