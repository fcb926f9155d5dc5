import os
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from limpet.errors import RunnerError
from limpet.runners import bubblewrap
from limpet.runners.base import EnsureOptions
from limpet.runners.bubblewrap import find_bubblewrap, probe_isolation
from limpet.runners.host import HostRunner
from limpet.runners.network import NetworkSettings
from tests.runners.support import SANDBOX, FileState, client_of, run, standin_runner

pytestmark = pytest.mark.anyio
Shell = Callable[[str], Awaitable[str]]


@pytest.fixture
async def shell(data_dir: Path, can_bubblewrap: bool) -> AsyncIterator[Shell]:
    """Runs a command in a sandbox that is shut in; its output."""
    if not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    runner = standin_runner(data_dir, "bubblewrap")
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:

        async def shell(command: str) -> str:
            return (await run(client, "sh", "-c", command)).strip()

        yield shell
    await runner.delete(SANDBOX.handle)
    await runner.close()


async def test_the_root_is_at_sandbox_and_app_leads_to_the_workspace(
    shell: Shell, data_dir: Path
) -> None:
    await shell("echo hello > /sandbox/workspace/file")
    assert await shell("cat /app/file") == "hello"
    assert await shell("readlink /app") == "/sandbox/workspace"
    root = data_dir / "sandboxes" / SANDBOX.handle
    assert (root / "workspace/file").read_text() == "hello\n"
    assert (root / "workspace/file").stat().st_uid == os.getuid()
    await shell("mkdir /sandbox/staging && mv /sandbox/workspace /sandbox/staging/old")
    assert (root / "staging/old/file").exists()


async def test_it_sees_no_home_no_data_folder_and_no_host_process(
    shell: Shell, data_dir: Path
) -> None:
    assert await shell(f"ls -a {data_dir} 2>&1 || true") != ""
    assert "No such file" in await shell(f"ls {data_dir} 2>&1 || true")
    home = Path.home()
    assert "No such file" in await shell(f"cat {home}/.bashrc 2>&1 || true")
    assert "No such file" in await shell("cat /etc/shadow 2>&1 || true")
    assert "No such file" in await shell("ls /etc/ssl/private /var/lib /sys /boot 2>&1 || true")
    pids = await shell("ls /proc | grep '^[0-9]' | wc -l")
    assert int(pids) < 10
    assert (await shell("hostname")) == SANDBOX.handle


async def test_it_has_no_capabilities_and_is_nobody_in_particular(shell: Shell) -> None:
    assert await shell("id -u; id -un; id -gn") == "1000\nlimpet\nlimpet"
    capabilities = await shell("grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status")
    assert {line.split()[1] for line in capabilities.splitlines()} == {"0" * 16}
    assert await shell("grep NoNewPrivs /proc/self/status | cut -f2") == "1"


async def test_it_can_change_nothing_but_its_root_and_tmp(shell: Shell) -> None:
    for path in ("/x", "/usr/x", "/etc/x", "/etc/passwd", "/run/x"):
        tried = await shell(f"(echo x > {path}) 2>/dev/null && echo written || echo refused")
        assert tried == "refused", path
    assert await shell("echo x > /tmp/x && echo x > /var/tmp/y && echo x > /dev/shm/z && ls /tmp")
    assert not Path("/tmp/y").exists()


async def test_it_cannot_change_the_kernels_settings(shell: Shell) -> None:
    # Opened for appending and closed: a sandbox that could must not break this machine.
    find = "find /proc -path '/proc/[0-9]*' -prune -o -type f -print"
    tried = await shell(f"{find} | while read f; do (: >> $f) 2>/dev/null && echo $f; done; true")
    assert {
        line for line in tried.splitlines() if not line.startswith("/proc/thread-self")
    } == set()
    assert await shell("head -c1 /proc/sys/kernel/core_pattern")


async def test_it_makes_no_further_user_namespaces(shell: Shell) -> None:
    found = find_bubblewrap(os.environ, Path("/nowhere"))
    assert found is not None
    if not found.disables_userns:
        pytest.skip("this bubblewrap cannot")
    assert await shell("unshare -U true 2>/dev/null && echo made || echo refused") == "refused"


async def test_the_tools_work(shell: Shell) -> None:
    assert (await shell("node --version")).startswith("v")
    assert await shell("npm --version")
    assert (await shell("git --version")).startswith("git version")
    assert (await shell("python3 --version")).startswith("Python 3")
    assert await shell("git init -q r && cd r && git status --short && echo ok") == "ok"


async def test_no_descriptor_of_the_control_plane_is_inherited(shell: Shell) -> None:
    daemon = await shell("ls -l /proc/$PPID/fd | grep -v ' total' | sed 's/.*-> //'")
    foreign = [
        line
        for line in daemon.splitlines()
        if line.startswith("/")
        and not line.startswith(("/dev/null", "/proc"))
        and not line.endswith("/state/logs/daemon.log")
    ]
    assert not foreign


async def test_certificates_that_the_environment_names_are_seen(
    data_dir: Path, tmp_path: Path, can_bubblewrap: bool
) -> None:
    if not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    bundle, folder = tmp_path / "ca.pem", tmp_path / "certs"
    bundle.write_text("PEM")
    folder.mkdir()
    (folder / "one.pem").write_text("ONE")
    environ = {**os.environ, "GIT_SSL_CAINFO": str(bundle), "SSL_CERT_DIR": str(folder)}
    runner = standin_runner(data_dir, "bubblewrap", environ=environ)
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        command = f"cat {bundle} {folder}/one.pem; echo $GIT_SSL_CAINFO; ls {tmp_path}"
        shown = await run(client, "sh", "-c", command)
    await runner.delete(SANDBOX.handle)
    await runner.close()
    assert shown == f"PEMONE{bundle}\nca.pem\ncerts\n"


async def test_a_link_that_the_sandbox_puts_in_the_place_of_its_log_is_never_followed(
    shell: Shell, data_dir: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "daemon.log").write_text("precious")
    (victim / "logs").mkdir()
    await shell(f"rm -rf /sandbox/state && ln -s {victim} /sandbox/state")
    runner = standin_runner(data_dir, "bubblewrap")
    await runner.stop(SANDBOX.handle)
    found = await runner.ensure(SANDBOX, EnsureOptions())
    assert found.is_new
    root = runner.root(SANDBOX.handle)
    assert not (root / "state").is_symlink()
    await runner.delete(SANDBOX.handle)
    await runner.close()
    assert [path.name for path in sorted(victim.iterdir())] == ["daemon.log", "logs"]
    assert (victim / "daemon.log").read_text() == "precious"
    assert not list((victim / "logs").iterdir())


def test_without_bubblewrap_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    environ = {**os.environ, "PATH": str(tmp_path)}
    isolation = probe_isolation(environ)
    assert isolation.kind == "none"
    assert "not installed" in isolation.reason
    with pytest.raises(RunnerError, match="not installed"):
        HostRunner(tmp_path, FileState(tmp_path / "s"), isolation="bubblewrap", environ=environ)
    runner = HostRunner(tmp_path, FileState(tmp_path / "s"), environ=environ)
    assert (runner.isolation.kind, runner.isolation.reason) == ("none", isolation.reason)


def test_a_bubblewrap_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create a namespace' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    isolation = probe_isolation({**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert isolation.kind == "none"
    assert "No permissions to create a namespace" in isolation.reason


def test_isolation_holds_when_it_does(can_bubblewrap: bool) -> None:
    if not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    assert probe_isolation().reason == ""


def test_an_ordinary_user_can_be_kept_apart_too(can_bubblewrap: bool) -> None:
    if not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    outer = ["bwrap", "--unshare-user", "--uid", "1234", "--gid", "1234", "--cap-drop", "ALL"]
    outer += ["--dev-bind", "/", "/", "--", sys.executable, "-c"]
    code = "import os; from limpet.runners.bubblewrap import probe_isolation as probe\n"
    code += "print(os.getuid(), probe())"
    done = subprocess.run([*outer, code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("1234 Isolation(kind='bubblewrap', reason='', "), done.stderr


def executable(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def sources(home: Path, path: list[Path], hidden: Path) -> list[Path]:
    environ = {"HOME": str(home), "PATH": os.pathsep.join(map(str, path))}
    found = bubblewrap.Bubblewrap("bwrap", environ, hidden)
    return found._sources()


def test_a_tool_chain_in_the_home_folder_shows_without_the_rest_of_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    node = executable(home / ".nvm/versions/node/v20/bin/node")
    uv = executable(home / ".local/bin/uv")
    rg = executable(home / "bin/rg")
    cargo = executable(home / ".cargo/bin/cargo")
    path = [file.parent for file in (node, uv, rg, cargo)]
    hidden = home / ".local/share/limpet"
    shown = [p for p in sources(home, path, hidden) if home in p.parents or p == home]
    assert sorted(shown) == sorted([home / ".nvm/versions/node/v20", uv, rg])


def test_a_tool_chain_that_holds_the_data_folder_shows_only_its_program(tmp_path: Path) -> None:
    node = executable(tmp_path / "opt/tools/bin/node")
    shown = sources(tmp_path / "home", [node.parent], tmp_path / "opt/tools/data")
    assert node in shown
    assert tmp_path / "opt/tools" not in shown


def test_the_path_inside_names_only_what_shows(tmp_path: Path) -> None:
    home = tmp_path / "home"
    node = executable(home / "node/bin/node")
    other = executable(home / "private/bin/other")
    alone = executable(home / ".local/share/pnpm/pnpm")
    folders = [other.parent, node.parent, alone.parent, "/usr/bin", "relative"]
    environ = {"HOME": str(home), "PATH": ":".join(map(str, folders))}
    path = bubblewrap.Bubblewrap("bwrap", environ, tmp_path / "data").path.split(":")
    assert path[:3] == [str(node.parent), str(alone.parent), "/usr/bin"]
    assert str(other.parent) not in path
    assert "relative" not in path


async def test_git_clones_over_https_with_the_certificates_that_are_named(
    data_dir: Path, tmp_path: Path, can_bubblewrap: bool
) -> None:
    if not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    with https_repository(tmp_path) as (url, authority):
        environ = {**os.environ, "GIT_SSL_CAINFO": str(authority)}
        port = urlsplit(url).port
        assert port is not None
        networks = NetworkSettings(host_ports=(port,))
        runner = standin_runner(data_dir, "bubblewrap", environ=environ, networks=networks)
        found = await runner.ensure(SANDBOX, EnsureOptions())
        async with client_of(found) as client:
            command = f"git clone -q {url} cloned && cat cloned/README"
            assert await run(client, "sh", "-c", command) == "hello\n"
        await runner.delete(SANDBOX.handle)
        await runner.close()


@contextmanager
def https_repository(folder: Path) -> Iterator[tuple[str, Path]]:
    """A git repository served over HTTPS on loopback; its URL and its certificate authority."""
    source = folder / "source"
    source.mkdir()
    (source / "README").write_text("hello\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*identity, "commit", "-q", "-m", "one"],
        ["clone", "-q", "--bare", ".", str(folder / "served/r.git")],
        ["-C", str(folder / "served/r.git"), "update-server-info"],
    ):
        subprocess.run(["git", *command], cwd=source, check=True)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    handler = partial(Quiet, directory=str(folder / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/r.git", folder / "authority.pem"
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.e2e
async def test_npm_installs_from_the_registry_that_the_host_uses(shell: Shell) -> None:
    await shell("mkdir app && cd app && npm init -y >/dev/null && npm install is-number >&2")
    assert await shell("cd app && node -p 'require(\"is-number\")(5)'") == "true"
