"""What Limpet holds in confidence is found nowhere that it does not belong.

A real `limpet serve` is given secrets wherever it holds some, and made to do all it can: clone (and
fail to), exec, save, restore, look inside, export, import, check, die and come back. Meanwhile the
command lines of every process on the machine and the environments of all but the server's own are
looked at over and over. Ours, and looked for: the daemons' tokens, the API key, the sign-in token
and a browser's cookie, the key that seals, the clone credentials (right and wrong ones), what else
the server's environment holds (stores', models', databases'), and secrets in environment variables,
of an agent and of its org, old values and new, which tasks alone may have and which they print.

What users put into their workspace is theirs and is kept: the tests look for that too, in several
forms, so that it is known that the search sees.
"""

import asyncio
import base64
import contextlib
import json
import os
import random
import re
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from limpet.control.db import EMBEDDED_ORG, Database
from limpet.control.db.runner_state import SealedRunnerState
from limpet.control.env_secrets import EnvSecrets
from limpet.control.secrets import SecretBox, parse_keys
from limpet.ids import AgentId
from tests.faults_engine.searching import contents_of
from tests.faults_engine.suites import Suite
from tests.gitserver import GitServer
from tests.live import QUIET_SAVER, CommandFailedError, LiveLimpet, poll_until

pytestmark = pytest.mark.long

SUITE = Suite("planted secrets")
DICE = random.Random(SUITE.seed)
TRUSTED = (
    b"limpet.cli",
    b"pytest",
    b"tests.faults_engine",
    b"git http-backend",
    b"git-http-backend",
)
"""In the command lines of processes that are given the server's environment on purpose."""
ALLOWED = {"server.json"}
"""Files of the data folder that are there to hold one."""


VARIABLES = "variable of a sandbox"


def planted(name: str) -> str:
    """A secret that needs escaping in any form."""
    return f'{name}-{DICE.randbytes(8).hex()}/+p@ss w:rd&"%é'


def forms(secret: bytes) -> set[bytes]:
    """How a secret may be written: as it is, in JSON, a URL, hex, base64 wherever it begins."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for safe in ("", "/", "/:@+&"):
        found.add(urllib.parse.quote(secret, safe=safe).encode())
        found.add(urllib.parse.quote_plus(secret, safe=safe).encode())
    with contextlib.suppress(UnicodeDecodeError):
        found.add(json.dumps(secret.decode())[1:-1].encode())
        found.add(json.dumps(secret.decode(), ensure_ascii=False)[1:-1].encode())
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Without what hangs on the bytes before and after it.
            coded = encode(bytes(before) + secret).rstrip(b"=")
            found.add(coded[-(-before * 8 // 6) : len(coded) - 1])
    return {form for form in found if len(form) >= 12}


class Search:
    """Secrets by name, and where what was found of them."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._pattern: re.Pattern[bytes] | None = None
        self.found: set[tuple[str, str]] = set()
        self.places = 0
        self.size_bytes = 0

    def add(self, name: str, secret: str | bytes) -> None:
        plain = secret.encode() if isinstance(secret, str) else secret
        for form in forms(plain):
            self._names.setdefault(form, name)
        self._pattern = None

    @property
    def names(self) -> set[str]:
        return set(self._names.values())

    def names_in(self, data: bytes) -> set[str]:
        if self._pattern is None:
            self._pattern = re.compile(b"|".join(map(re.escape, self._names)))
        return {self._names[hit] for hit in set(self._pattern.findall(data))}

    def look(self, where: str, data: bytes, *, allowed: frozenset[str] = frozenset()) -> None:
        self.places += 1
        self.size_bytes += len(data)
        self.found |= {(name, where) for name in self.names_in(data) - allowed}


class Watch:
    """Looks at every process again and again, in a thread; what was seen is searched later."""

    def __init__(self, live: LiveLimpet, rest_s: float) -> None:
        self._rest_s = rest_s
        self.command_lines: set[bytes] = set()
        self.environments: dict[bytes, bytes] = {}
        """By what is in them, and whose they were."""
        self.rounds = 0
        self._live = live
        self._own = os.getpid()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._rest_s):
            self.rounds += 1
            server = self._live.process.pid if self._live.process else 0
            for name in os.listdir("/proc"):
                if name.isdigit() and int(name) not in {self._own, server}:
                    with contextlib.suppress(OSError):
                        self._see(Path("/proc") / name)

    def _see(self, process: Path) -> None:
        line = (process / "cmdline").read_bytes()
        self.command_lines.add(line)
        environment = (process / "environ").read_bytes()
        # A process that only now becomes another one was still the server a moment ago.
        if line != (process / "cmdline").read_bytes() or any(one in line for one in TRUSTED):
            return
        if environment not in self.environments and not _of_a_command(process):
            self.environments[environment] = line


def _of_a_command(process: Path) -> bool:
    """Whether a command of the user's, such as `limpet doctor`, has started it."""
    while process.name not in {"0", "1"}:
        line = (process / "cmdline").read_bytes()
        if b"limpet.cli" in line:
            return b"serve" not in line.split(b"\0")
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        process = process.with_name(parent)
    return False


class Scene:
    """One server with its secrets, and what of it was heard."""

    def __init__(
        self, live: LiveLimpet, search: Search, users: Search, key: str, watch: Watch
    ) -> None:
        self.live = live
        self.search = search
        self.users = users
        self.key = key
        self.watch = watch
        self.heard: dict[str, bytes] = {}
        self.values: dict[str, str] = {}
        """The secrets in environment variables as they are now."""

    def cli(self, *arguments: str, code: int | None = 0) -> str:
        """A command's output, which is searched; with `code` None it may end as it likes."""
        try:
            told = self.live.cli(*arguments, code=code or 0)
        except CommandFailedError as error:
            if code == 0:
                raise
            told = str(error).split("\n--- server\n")[0]
        self._hear(f"limpet {arguments[0]}", told)
        return told

    def plant(self, name: str, agent: str | None) -> None:
        """A secret in an environment variable, under the same name in the search."""
        value = planted(name)
        self.search.add(VARIABLES, value)
        changed = self.ask("POST", "/secrets", {"name": name, "value": value, "agent_id": agent})
        assert json.loads(changed)["secret"]["name"] == name
        self.values[name] = value

    def ask(self, method: str, path: str, body: object) -> str:
        """Any answer of the API."""
        answer = urllib3.request(
            method, f"{self.live.url}/api/local{path}", json=body, retries=False,
            headers={"Authorization": f"Bearer {self.live.discovery['api_key']}"},
        )  # fmt: skip
        told = answer.data.decode()
        self._hear(f"{method} {path}", told + repr(answer.headers))
        return told

    def _hear(self, where: str, told: str) -> None:
        self.heard[where] = self.heard.get(where, b"") + told.encode("utf-8", "surrogateescape")

    @contextlib.contextmanager
    def listening(self, agent: str) -> Iterator[None]:
        """Keep what the sandbox's event stream says."""
        answer = urllib3.request(
            "GET", f"{self.live.url}/api/local/vm-events?virtualMcpId={agent}", retries=False,
            headers={"Authorization": f"Bearer {self.live.discovery['api_key']}"},
            preload_content=False, timeout=urllib3.Timeout(connect=10, read=60),
        )  # fmt: skip
        seen = bytearray()

        def read() -> None:
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError, ValueError):
                for chunk in answer.stream(1):
                    seen.extend(chunk)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
            poll_until("an event", lambda: b"event:" in seen, 20)
        finally:
            answer.shutdown()
            thread.join()
            answer.close()
        self.heard["events"] = self.heard.get("events", b"") + bytes(seen)

    def sealed_values(self, agent: str) -> dict[str, str]:
        """What the database has for the agent's sandboxes, opened with the key."""

        async def opened() -> dict[str, str]:
            database = Database(f"sqlite+aiosqlite:///{self.live.data_dir / 'limpet.sqlite3'}")
            try:
                secrets = EnvSecrets(database, SecretBox(parse_keys(self.key, "the test")))
                return await secrets.environment(EMBEDDED_ORG, AgentId(agent))
            finally:
                await database.close()

        return asyncio.run(opened())

    def learn_tokens(self) -> list[dict[str, object]]:
        """The runner's records as they are sealed in the database; each has its daemon's token."""

        async def records() -> list[dict[str, object]]:
            database = Database(f"sqlite+aiosqlite:///{self.live.data_dir / 'limpet.sqlite3'}")
            try:
                box = SecretBox(parse_keys(self.key, "the test"))
                return [value for _, value in await SealedRunnerState(database, box, "host").list()]
            finally:
                await database.close()

        found = asyncio.run(records())
        for record in found:
            self.search.add(f"token of {str(record['url'])[-5:]}", str(record["token"]))
        return found

    def task_with_its_variables(self) -> bool:
        """Whether a process was seen that has one in its environment."""
        seen = list(self.watch.environments)
        return any(VARIABLES in self.search.names_in(one) for one in seen)

    def search_all(self, elsewhere: Path) -> None:
        search, data_dir, watch = self.search, self.live.data_dir, self.watch
        store = data_dir / "sandbox-snapshots"
        for name, data in contents_of(store):
            search.look(f"store: {name}", data)
        for top in (data_dir, elsewhere):
            for path in top.rglob("*"):
                if path.is_file() and not path.is_symlink() and path.name not in ALLOWED:
                    with contextlib.suppress(FileNotFoundError):
                        search.look(f"file: {path.relative_to(top)}", path.read_bytes())
        # The one line that is printed to sign in is what it is for.
        output = re.sub(r"\?token=\S+", "", self.live.output())
        search.look("output", output.encode())
        for where, heard in self.heard.items():
            search.look(where, heard)
        for line in list(watch.command_lines):
            search.look(f"command line: {line[:80]!r}", line)
        theirs = frozenset({VARIABLES})
        for environment, line in list(watch.environments.items()):
            search.look(f"environment of {line[:80]!r}", environment, allowed=theirs)


def sign_in(scene: Scene) -> None:
    """As a browser does; the cookie is a secret from then on."""
    url = scene.live.sign_in_url
    assert url is not None
    scene.search.add("sign-in token", url.split("token=")[1])
    answer = urllib3.request("GET", url, redirect=False, retries=False)
    assert answer.status == 303
    scene.search.add("cookie", answer.headers["set-cookie"].split(";")[0].split("=", 1)[1])


def work(scene: Scene, agent: str, elsewhere: Path, *, fully: bool) -> None:
    """All that can be done with a sandbox."""
    live, cli = scene.live, scene.cli
    workspace = live.root_of(live.sandbox(agent)["handle"]) / "workspace" / "repo"
    poll_until("the clone", (workspace / "a.txt").exists, 60)
    look = "env; set; tr '\\0' '\\n' < /proc/self/environ; git config -l; cat .git/config"
    halves = 'printf %s "${PLANTED%????????}"; printf %s "${PLANTED#"${PLANTED%????????}"}"'
    print_all = ("exec", agent, "--", "sh", "-c", f"{look}; {halves}; echo said by a user")
    assert "PLANTED=[hidden: PLANTED]" in cli(*print_all)
    [record] = scene.learn_tokens()
    scene.plant("PLANTED", agent)
    assert "SHARED=[hidden: SHARED]" in cli(*print_all)
    told = urllib3.request(
        "GET", f"{record['url']}/_sandbox/config", retries=False,
        headers={"Authorization": f"Bearer {record['token']}"},
    )  # fmt: skip
    assert json.loads(told.data)["envKeys"] == ["PLANTED", "SHARED"]
    handle = live.sandbox(agent)["handle"]
    scene.ask("POST", f"/sandboxes/{handle}/exec", {"command": "sleep 1000", "mode": "background"})
    poll_until("a task that has its variables", scene.task_with_its_variables, 20)
    cli("tasks", "kill-all", agent)
    scene.heard["GET config"] = told.data
    theirs = planted("user")
    scene.users.add("plain", theirs)
    coded = DICE.randbytes(16).hex()
    scene.users.add("coded", coded)
    (workspace / ".env").write_text(f"KEY={theirs}\n")
    (workspace / "coded").write_bytes(b"x" + base64.b64encode(b"yz" + coded.encode()))
    first = json.loads(cli("snapshots", "save", agent, "--json"))["id"]
    if fully:
        cli("snapshots", "cat", agent, first, "repo/not-there", code=None)
        (workspace / "more").write_text("more")
        second = json.loads(cli("snapshots", "save", agent, "--json"))["id"]
        cli("snapshots", "files", agent, first, "-r")
        cli("snapshots", "diff", agent, second)
        cli("snapshots", "export", agent, second, str(elsewhere / "whole.tar"))
        cli("snapshots", "download", agent, first, "repo", str(elsewhere / "repo.tar"))
        cli("snapshots", "import", agent, str(elsewhere / "whole.tar"))
        cli("snapshots", "ls", agent)
        cli("logs", agent, code=None)
        cli("tasks", "ls", agent, code=None)
        cli("doctor", code=None)
        cli("exec", agent, "--", "git", "push", "origin", "HEAD:elsewhere", code=None)
        cli("exec", agent, "--", "git", "fetch", code=None)
        cli("stop", agent)
        cli("start", agent)
        scene.learn_tokens()
        cli("check")
    cli("snapshots", "restore", agent, first, "--yes")


def errors(scene: Scene, server: GitServer, wrong: str) -> None:
    """Clones that fail, and requests that are refused."""
    live = scene.live
    user = urllib.parse.quote("a user")
    password = urllib.parse.quote(wrong, safe="")
    for url in (
        f"https://{user}:{password}@host.invalid/x?y=z",
        f"https://{user}:{password}@@/",
        f"http://{user}:{password}@127.0.0.1/x",
    ):
        scene.ask("POST", "/agents", {"title": "Odd", "clone_url": url})
        scene.ask("POST", "/agents", {"title": 5, "clone_url": url, "clone_password": wrong})
    body = {"title": "Failing", "clone_username": "user", "clone_password": wrong}
    for name in ("PATH", "A-B", 5):
        scene.ask("POST", "/secrets", {"name": name, "value": wrong})
    scene.ask("POST", "/secrets", {"name": "A", "value": [wrong]})
    scene.ask("POST", "/secrets", {"name": "A", "value": wrong, "agent_id": "agt_none"})
    for number, url in enumerate((server.url("app"), "https://127.0.0.1:9/nobody/there.git")):
        made = scene.ask(
            "POST", "/agents", {**body, "title": f"Failing {number}", "clone_url": url}
        )
        agent = re.findall(r'"id":\s*"(agt_[^"]+)"', made)[0]
        with scene.listening(agent):
            scene.cli("start", agent, code=None)
            scene.learn_tokens()
            scene.cli("logs", agent, code=None)
        scene.cli("stop", agent, code=None)
    token = "lmp_" + DICE.randbytes(6).hex() + "_" + DICE.randbytes(32).hex()
    scene.search.add("a wrong API key", token)
    for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"limpet={token}"}):
        answer = urllib3.request(
            "GET", f"{live.url}/api/local/agents", headers=headers, retries=False
        )
        assert answer.status == 401
        scene.heard["401"] = answer.data


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    "fully", [False, pytest.param(True, marks=pytest.mark.engine_fault)], ids=["short", "full"]
)
def test_what_limpet_holds_in_confidence_is_found_nowhere(tmp_path: Path, fully: bool) -> None:
    search, users = Search(), Search()
    key = base64.b64encode(DICE.randbytes(32)).decode()
    search.add("sealing key", key)
    search.add("sealing key", base64.b64decode(key))
    password, wrong = planted("clone"), planted("wrong")
    search.add("clone password", password)
    search.add("wrong clone password", wrong)
    environ = {"LIMPET_SECRET_KEY": key}
    for name in (
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_API_KEY",
        "LIMPET_STORE_SECRET", "PGPASSWORD", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN",
        "NPM_TOKEN", "npm_config__auth", "MY_OWN_AFFAIR", "SSH_AUTH_SOCK", "DOCKER_AUTH_CONFIG",
    ):  # fmt: skip
        environ[name] = planted(name)
        search.add(name, environ[name])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with GitServer.start(tmp_path / "git", ("user", password)) as server:
        server.add_repository("app", {"a.txt": "hello\n"})
        environ |= {
            **server.environ,
            **QUIET_SAVER,
            "LIMPET_LOG_LEVEL": "debug",
        }
        with LiveLimpet.temporary(environ) as live, Watch(live, 0.003 if fully else 0.03) as watch:
            scene = Scene(live, search, users, key, watch)
            search.add("API key", live.discovery["api_key"])
            sign_in(scene)
            made = live.api(
                "POST", "/agents",
                {"title": "Worker", "clone_url": server.url("app"), "clone_username": "user",
                 "clone_password": password},
            )  # fmt: skip
            canary = f"canary-{DICE.randbytes(8).hex()}"
            with subprocess.Popen(["sleep", "60"], env={"CANARY": canary}) as sleeper:
                poll_until(
                    "the watch to see",
                    lambda: any(canary.encode() in one for one in list(watch.environments))
                    and b"sleep\x0060\0" in watch.command_lines,
                    20,
                )  # fmt: skip
                sleeper.kill()
            agent = made["id"]
            scene.plant("PLANTED", agent)
            scene.plant("SHARED", None)
            with scene.listening(agent):
                scene.cli("start", agent)
                work(scene, agent, elsewhere, fully=fully)
            if fully:
                errors(scene, server, wrong)
                live.kill_all()
                live.start()
                search.add("API key of the next start", live.discovery["api_key"])
                sign_in(scene)
                scene.cli("start", agent)
                scene.learn_tokens()
            live.stop()
            scene.search_all(elsewhere)
            assert scene.sealed_values(agent) == scene.values
            assert server.clone_count >= 1
            stored = {
                name
                for _, data in contents_of(live.data_dir / "sandbox-snapshots")
                for name in users.names_in(data)
            }
            assert stored == {"plain", "coded"}, "the search does not see what users saved"
            assert b"said by a user" in b"".join(scene.heard.values())
            assert live.data_dir.exists()
    assert not search.found, "\n".join(f"{name} in {where}" for name, where in sorted(search.found))
    assert watch.rounds > 20
    assert any(b"daemon" in line for line in watch.command_lines)
    SUITE.count("runs")
    SUITE.count("secrets", len(search.names))
    SUITE.count("places searched", search.places)
    SUITE.count("bytes", search.size_bytes)
    SUITE.count("command lines", len(watch.command_lines))
    SUITE.count("environments", len(watch.environments))
    SUITE.count("looks at all processes", watch.rounds)
