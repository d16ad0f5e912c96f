"""Where the server's settings come from, which of them wins, and how mistakes are named."""

import re
from pathlib import Path

import pytest
import yaml

from guard.errors import BadInput
from guard.serving.config import ServeSettings
from guard.serving.configuration import as_yaml, serve_settings

FILE = "host: 10.0.0.1\nlimits:\n  pixels: 5\n  burst: 3\nname: by-file\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "serve.yaml"
    path.write_text(FILE)
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORNERGUARD_LIMITS__PIXELS", "6")
    monkeypatch.setenv("CORNERGUARD_NAME", "2024")  # a name, though it reads as a number
    monkeypatch.setenv("CORNERGUARD_TLS__HTTP", "false")
    monkeypatch.setenv("CORNERGUARD_TOKENS__EXEMPT", '["health", "reflection"]')
    monkeypatch.setenv("CORNERGUARD_LIMITS__IN_FLIGHT", "null")
    settings = serve_settings(config, {"host": "10.0.0.2", "http_port": None}, ["limits.burst=4"])
    assert (settings.host, settings.name, settings.http_port) == ("10.0.0.2", "2024", 8002)
    assert (settings.limits.pixels, settings.limits.burst) == (6, 4)
    assert settings.limits.in_flight is None
    assert settings.tokens.exempt == ("health", "reflection")


@pytest.mark.parametrize(
    ("variables", "flags", "overrides", "message"),
    [
        ({}, {}, ["limits.pixels=none"], "--set limits.pixels=none: limits.pixels: input"),
        ({}, {"grpc_port": 70000}, [], "--grpc-port: grpc_port: input should be less"),
        ({"LIMITS__PIXELS": "many"}, {}, [], "CORNERGUARD_LIMITS__PIXELS: limits.pixels: input"),
        ({"LIMITZ__PIXELS": "1"}, {}, [], "CORNERGUARD_LIMITZ__PIXELS: unknown key 'limitz'; did"),
        ({"LIMITS__PIXEL": "1"}, {}, [], "CORNERGUARD_LIMITS__PIXEL: unknown key 'limits.pixel'"),
        ({"HOST__NAME": "x"}, {}, [], "CORNERGUARD_HOST__NAME: 'host' is not a group of keys"),
        ({"TLS__KEY": "k.pem"}, {}, [], "CORNERGUARD_TLS__KEY: tls: certificate and key: give"),
        ({"LIMITS__BURST": "9"}, {}, ["batching.queue=0"], "--set batching.queue=0: batching"),
    ],
)
def test_a_mistake_names_its_source(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    flags: dict[str, int],
    overrides: list[str],
    message: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"CORNERGUARD_{name}", value)
    with pytest.raises(BadInput, match=f"^{re.escape(message)}"):
        serve_settings(config, flags, overrides)


def test_a_mistake_in_the_file_names_its_line(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(FILE.replace("burst: 3", "burst: 0"))
    monkeypatch.setenv("CORNERGUARD_LIMITS__PIXELS", "6")
    with pytest.raises(BadInput, match=r"serve\.yaml:4: limits\.burst: "):
        serve_settings(config, {})


def test_what_kubernetes_sets_beside_a_service_of_our_name_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT", "PORT_8001_TCP_ADDR"):
        monkeypatch.setenv(f"CORNERGUARD_{name}", "10.0.0.1")
    assert serve_settings(None, {}) == ServeSettings()


def test_what_is_printed_reads_back_as_the_same(config: Path, tmp_path: Path) -> None:
    settings = serve_settings(config, {}, ["tls.certificate=c.pem", "tls.key=k.pem"])
    printed = tmp_path / "printed.yaml"
    printed.write_text(as_yaml(settings))
    assert serve_settings(printed, {}) == settings
    assert set(yaml.safe_load(printed.read_text())) == set(ServeSettings.model_fields)
