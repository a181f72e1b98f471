from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.mosquitto import Listener, Mosquitto
from tests.support.net import PATIENCE_S, free_port
from tests.support.parts import part
from tests.support.publisher import Publishing, call, environment, run
from tests.support.raw_broker import RawBroker, Script, Wire, forgetful, packet, refusing
from tests.support.rights import no_override
from tests.support.transcripts import ClaudeHome, assistant
from tests.support.web import answering

from claude_gauge.apps.doctor.machine import folders, shim, watches
from claude_gauge.config import Settings


def _examined(env: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    done = call("doctor", "--json", env=env)
    return done.returncode, {check["link"]: check for check in json.loads(done.stdout)["checks"]}


def test_all_is_well(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """With a publisher at work every link is found to be ok."""
    claude.append(assistant(time.time(), 1))
    port = free_port()
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP=f"127.0.0.1:{port}")
    with Listener(broker.port) as listener, Publishing(tmp_path / "run", env=env):
        listener.wait(lambda received: received.topic.endswith("/usage"))
        code, checks = _examined(env)

    assert code == 0
    assert (checks.pop("Claude Code")["state"], checks.pop("plan figures")["state"]) == ("off", "off")
    assert {name: check["state"] for name, check in checks.items()} == dict.fromkeys(
        [
            "settings",
            "Claude Code's folder",
            "file events",
            "state folder",
            "broker",
            "permission",
            "topic",
            "Home Assistant",
            "HTTP",
        ],
        "ok",
    )


def test_nothing_is_there(tmp_path: Path) -> None:
    """On a bare machine each broken link says what to do, and the exit code is 1."""
    claude = ClaudeHome(tmp_path / "claude")
    env = environment(claude, tmp_path, CLAUDE_CONFIG_DIR=str(tmp_path / "nowhere"))
    env |= {"CLAUDE_GAUGE_BROKER": f"mqtt://127.0.0.1:{free_port()}", "CLAUDE_GAUGE_HTTP": f"127.0.0.1:{free_port()}"}
    code, checks = _examined(env)

    assert code == 1
    assert (checks["Claude Code's folder"]["state"], checks["broker"]["state"]) == ("fail", "fail")
    assert all(check["advice"] for check in checks.values() if check["state"] in {"warn", "fail"})


def test_wrong_password_is_reported_and_never_shown(claude: ClaudeHome, tmp_path: Path) -> None:
    """A refused password is named as the trouble; the password itself is nowhere in the output."""
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    passwords.chmod(0o644)
    with Mosquitto(tmp_path / "shut", f"password_file {passwords}", anonymous=False) as shut:
        env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=f"mqtt://gauge@127.0.0.1:{shut.port}")
        done = call("doctor", env=env | {"CLAUDE_GAUGE_BROKER_PASSWORD": "canary-hunter2"})

    assert done.returncode == 1
    assert "FAIL  broker" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_forbidden_topic_is_proved_by_delivery(claude: ClaudeHome, tmp_path: Path) -> None:
    """An ACL that swallows our messages is found although Mosquitto answers with success."""
    acl = tmp_path / "acl"
    acl.write_text("topic read claude-gauge/#\n")
    acl.chmod(0o644)
    with Mosquitto(tmp_path / "strict", f"acl_file {acl}") as strict:
        code, checks = _examined(environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=strict.url))

    assert code == 1
    assert checks["permission"]["state"] == "fail"
    assert "ACL" in checks["permission"]["advice"]


def _small(number: int, wire: Wire) -> None:
    forgetful(number, wire, connack=packet(2, b"\0\0\5\x27\0\0\1\xf4"))  # 500 bytes at most


@pytest.mark.parametrize(("script", "code", "expected"), [
    (refusing, 0, {"permission": "not read it", "topic": "does not let us read claude-gauge/"}),
    (forgetful, 0, {"retained messages": "keeps no retained messages", "topic": "keeps nothing for us"}),
    (_small, 1, {"permission": "it takes 500 bytes at most", "Home Assistant": "takes 500 bytes at most"}),
])  # fmt: skip
def test_what_the_broker_does_not_do(
    claude: ClaudeHome, tmp_path: Path, script: Script, code: int, expected: dict[str, str]
) -> None:
    """A broker that refuses to show topics, keeps nothing or takes too little is found out, each with what to do."""
    claude.append(assistant(time.time(), 1))
    with RawBroker(script) as broker:
        found, checks = _examined(environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url))

    assert found == code
    for name, words in expected.items():
        assert words in checks[name]["found"], checks[name]
        assert checks[name]["advice"]
    if script is _small:
        assert "limit of a packet's size" in checks["permission"]["advice"]


def test_clock_behind_the_transcripts(claude: ClaudeHome) -> None:
    """A transcript from the future shows that a clock is wrong."""
    path, roots = claude.append(assistant(time.time(), 1)), [claude.folder / "projects"]
    checks = {check.link: check for check in folders(Settings(), roots, path.stat().st_mtime - 3600)}

    assert checks["clock"].state == "warn"
    assert "NTP" in checks["clock"].advice


def test_too_few_watches(claude: ClaudeHome, tmp_path: Path) -> None:
    """More folders than the kernel lets us watch is reported, with the setting that corrects it."""
    (tmp_path / "max_user_watches").write_text("1\n")
    (check,) = watches([claude.folder / "projects"], tmp_path)

    assert check.state == "warn"
    assert "sysctl fs.inotify.max_user_watches" in check.advice


def test_sources_that_are_configured_are_asked(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """A Prometheus that is away and a ccusage that answers are reported as such."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    env["CLAUDE_GAUGE_PROMETHEUS"] = f"http://127.0.0.1:{free_port()}"
    env["CLAUDE_GAUGE_CCUSAGE"] = str(part("ccusage-20.0.24/node_modules/.bin/ccusage"))
    code, checks = _examined(env)

    assert code == 1
    assert checks["Prometheus"]["state"] == "fail"
    assert checks["ccusage"]["found"] == "answers: 1,160 tokens in the present block"


def test_ccusage_that_hybrid_takes_the_fuel_from(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """Where `hybrid` asks ccusage because it is installed, it has a line as if it were named."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    folder = part("ccusage-20.0.24/node_modules/.bin/ccusage").parent
    _, found = _examined({**env, "CLAUDE_GAUGE_SOURCE": "hybrid", "PATH": f"{folder}:{env['PATH']}"})

    assert found["ccusage"]["found"] == "answers: 1,160 tokens in the present block"


def _without_claude_code(tmp_path: Path, **more: str) -> dict[str, str]:
    """A machine on which Claude Code never ran."""
    env = environment(ClaudeHome(tmp_path / "not-here"), tmp_path / "bare", CLAUDE_GAUGE_NODE="desk", **more)
    return {name: value for name, value in env.items() if name != "CLAUDE_CONFIG_DIR"}


def test_machine_that_only_shows(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """A machine without Claude Code that shows what another one publishes has no fault, and no warning."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    assert run("publish", "--once", "--node", "desk", env=env).returncode == 0
    code, checks = _examined(_without_claude_code(tmp_path, CLAUDE_GAUGE_BROKER=broker.url))

    assert code == 0
    assert {check["state"] for check in checks.values()} == {"ok", "off"}
    assert not any("setup" in check["advice"] for check in checks.values())


def test_node_that_nobody_publishes_yet(broker: Mosquitto, tmp_path: Path) -> None:
    """On a machine that only shows, the publisher is to be started elsewhere."""
    _, checks = _examined(_without_claude_code(tmp_path, CLAUDE_GAUGE_BROKER=broker.url))

    assert checks["topic"]["advice"].startswith("start the publisher where Claude Code runs")


def test_viewer_may_not_write(claude: ClaudeHome, tmp_path: Path) -> None:
    """On a machine that only shows, a user that may only read is right."""
    acl = tmp_path / "acl"
    acl.write_text("topic read claude-gauge/#\n")
    acl.chmod(0o644)
    claude.append(assistant(time.time(), 1))
    with Mosquitto(tmp_path / "strict", f"acl_file {acl}") as strict:
        code, checks = _examined(_without_claude_code(tmp_path, CLAUDE_GAUGE_BROKER=strict.url))

    assert (code, checks["permission"]["state"]) == (0, "off")


@pytest.mark.parametrize(
    "sources",
    [
        {"SOURCE": "prometheus"},
        {"SOURCE": "otlp"},
        {"SOURCE": "hybrid"},
        {"PROMETHEUS": "http://127.0.0.1:9"},
        {"SOURCE": "hybrid", "PROMETHEUS": "http://127.0.0.1:9"},
        {},
    ],
    ids=str,
)
def test_server_without_claude_code(broker: Mosquitto, tmp_path: Path, sources: dict[str, str]) -> None:
    """Where the figures come from Prometheus or OTLP, a machine without transcripts is as it should be."""
    sources = {"OTLP": f"127.0.0.1:{free_port()}", **sources}
    named = {f"CLAUDE_GAUGE_{name}": value for name, value in sources.items()}
    _, checks = _examined(_without_claude_code(tmp_path, CLAUDE_GAUGE_BROKER=broker.url, **named))

    assert checks["Claude Code's folder"]["state"] == "off"
    assert [name for name, check in checks.items() if check["state"] == "fail"] in ([], ["Prometheus"])


def test_no_broker_of_ones_own(claude: ClaudeHome, tmp_path: Path) -> None:
    """Where none is named, no broker is no fault: publish starts one."""
    claude.append(assistant(time.time(), 1))
    with Mosquitto(tmp_path / "other") as elsewhere:
        assert elsewhere.port != 1883
        _, checks = _examined(environment(claude, tmp_path, CLAUDE_GAUGE_HTTP="off"))

    assert checks["broker"]["state"] in {"ok", "warn"}
    assert checks["broker"]["state"] == "ok" or "publish" in checks["broker"]["advice"]


def test_wrong_node(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """Where the broker has nothing of this node, the nodes that it has are named."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    for node in ("laptop", "work"):
        assert run("publish", "--once", "--node", node, env=env).returncode == 0
    _, checks = _examined({**env, "CLAUDE_GAUGE_NODE": "labtop"})

    assert "laptop, work" in checks["topic"]["found"]
    assert "--node" in checks["topic"]["advice"]


def test_publisher_that_gets_no_payload_through(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """A node that is online and has no payload is not told to start its publisher, but to look at its log."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    with Listener(broker.port, "none") as other:
        other.client.publish("claude-gauge/mute/status", b"online", qos=1, retain=True).wait_for_publish(PATIENCE_S)
    _, checks = _examined({**env, "CLAUDE_GAUGE_NODE": "mute"})

    assert checks["topic"]["found"].endswith("though its publisher is online")
    assert "log" in checks["topic"]["advice"]


def test_page_with_an_old_payload() -> None:
    """A publisher that answers but no longer computes is a warning, with what to do."""
    with answering(503, "application/json", b'{"ok":false,"broker":"connected"}') as address:
        (check,) = shim(Settings(http=address))

    assert (check.state, "503" in check.found, "log" in check.advice) == ("warn", True, True)


def test_publisher_whose_broker_refuses() -> None:
    """What the broker refuses a running publisher is read from its own health, where nobody else could see it."""
    why = "broker b does not take homeassistant/device/x/config: not authorized"
    with answering(200, "application/json", b'{"broker":{"connected":true,"why":"%s"}}' % why.encode()) as address:
        refused, page = shim(Settings(http=address))

    assert (refused.state, refused.found, page.state) == ("warn", why, "ok")


def test_project_folder_that_is_shut(claude: ClaudeHome) -> None:
    """A project's folder that can't be read is a fault, and is named; the others still count."""
    claude.append(assistant(time.time(), 1))
    root = claude.folder / "projects"
    (root / "-shut").mkdir()
    (root / "-shut").chmod(0)
    with no_override():
        checks = list(folders(Settings(), [root], time.time()))
    (root / "-shut").chmod(0o700)

    assert [(check.state, "-shut" in check.found) for check in checks] == [("fail", True)]


def test_each_configured_source_has_a_line(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """An MCP server that is away, and Prometheus without a URL, are reported each with an advice of its own."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    away = f"http://127.0.0.1:{free_port()}/"
    _, mcp = _examined({**env, "CLAUDE_GAUGE_SOURCE": "ccusage-mcp", "CLAUDE_GAUGE_CCUSAGE_MCP": away})
    _, engine = _examined({**env, "CLAUDE_GAUGE_SOURCE": "prometheus"})

    assert (mcp["ccusage MCP"]["state"], engine["Prometheus"]["state"]) == ("fail", "fail")
    assert "--prometheus" in engine["Prometheus"]["advice"]


def test_after_setup(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """Right after setup the doctor says what brings the plan's figures, not that setup is missing."""
    claude.append(assistant(time.time(), 1))
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    assert call("setup", "--yes", env=env).returncode == 0
    _, checks = _examined(env)

    assert checks["Claude Code"]["state"] == "ok"
    assert "ask Claude Code something" in checks["plan figures"]["advice"]
    assert "Pro and Max" in checks["plan figures"]["advice"]


def test_publisher_whose_source_ails(claude: ClaudeHome, broker: Mosquitto, tmp_path: Path) -> None:
    """What a publisher's source lacks is reported with what to do there, as the table of the docs says it."""
    env = environment(claude, tmp_path, CLAUDE_GAUGE_BROKER=broker.url, CLAUDE_GAUGE_HTTP="off")
    assert run("publish", "--once", env={**env, "CLAUDE_CONFIG_DIR": str(tmp_path / "nowhere")}).returncode == 0
    _, checks = _examined(env)

    assert checks["source of tach"]["found"] == "transcripts: no transcripts folder"
    assert "CLAUDE_CONFIG_DIR" in checks["source of tach"]["advice"]
