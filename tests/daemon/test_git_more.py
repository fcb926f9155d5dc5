"""Stashes, branches, what is staged, chosen files, pages, odd names; fetch, pull and push."""

import base64
import json
import os
import threading
from pathlib import Path
from urllib.parse import quote

from tests.daemon.setup.projects import configure, wait_phase
from tests.daemon.test_git_routes import BRANCH, CREDENTIALS, daemon, files, get, server
from tests.daemon_process import DaemonProcess
from tests.gitserver import GitServer, git

__all__ = ["daemon", "server"]

ODD = b"caf\xe9.txt"
SENT = "caf\U0010f7e9.txt"


def test_changes_are_put_aside_and_come_back(daemon: DaemonProcess, repo: Path) -> None:
    assert daemon.post("/git/stash", {}) == {"stashed": False, "sha": None}
    (repo / "a.txt").write_text("changed\n")
    (repo / "new.txt").write_text("new\n")
    first = daemon.post("/git/stash", {"message": "half done"})
    assert first["stashed"] is True
    assert files(daemon) == {}
    (repo / "b.txt").write_text("changed, too\n")
    git("add", "b.txt", cwd=repo)
    daemon.post("/git/stash", {"untracked": False})
    listed = get(daemon, "/git/stash")["stashes"]
    assert [s["index"] for s in listed] == [0, 1]
    assert "half done" in listed[1]["message"]
    assert listed[1]["sha"] == first["sha"]
    daemon.post("/git/stash/pop", {"index": 0, "sha": first["sha"]}, 409)
    daemon.post("/git/stash/pop", {"index": 2}, 404)
    daemon.post("/git/stash/pop", {"index": 1, "sha": first["sha"]})
    assert files(daemon) == {"a.txt": " M", "new.txt": "??"}
    daemon.post("/git/stash/pop", {})
    assert files(daemon)["b.txt"] == "M ", "what was staged is staged again"
    daemon.post("/git/stash", {})
    daemon.post("/git/stash/drop", {})
    assert get(daemon, "/git/stash")["stashes"] == []


def test_a_stash_that_does_not_fit_stays(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a.txt").write_text("mine\n")
    daemon.post("/git/stash", {})
    (repo / "a.txt").write_text("theirs\n")
    told = daemon.post("/git/stash/pop", {}, 409)
    assert told["conflicts"] == []
    assert (repo / "a.txt").read_text() == "theirs\n"
    daemon.post("/git/commit", {"message": "theirs"})
    assert daemon.post("/git/stash/pop", {}, 409)["conflicts"] == ["a.txt"]
    assert len(get(daemon, "/git/stash")["stashes"]) == 1


def test_branches_are_made_switched_and_deleted(daemon: DaemonProcess, repo: Path) -> None:
    made = daemon.post("/git/branches", {"name": "topic/one"})
    assert made["current"] == BRANCH
    (repo / "a.txt").write_text("changed\n")
    assert daemon.post("/git/switch", {"name": "topic/one"})["current"] == "topic/one"
    assert files(daemon) == {"a.txt": " M"}, "changes come along"
    daemon.post("/git/commit", {"message": "on the topic"})
    made = daemon.post("/git/branches", {"name": "two", "from": "main", "switch": True})
    assert (made["current"], (repo / "a.txt").read_text()) == ("two", "one\n")
    (repo / "a.txt").write_text("in the way\n")
    assert "refused" in daemon.post("/git/switch", {"name": "topic/one"}, 409)["error"]
    assert (repo / "a.txt").read_text() == "in the way\n"
    for bad in ({"name": "two"}, {"name": "three", "from": "nowhere"}):
        status = daemon.request("POST", "/git/branches", json.dumps(bad).encode()).status
        assert status in {400, 409}
    daemon.post("/git/switch", {"name": "nowhere"}, 404)
    assert daemon.request("DELETE", "/git/branches?name=two").status == 409, "it is checked out"
    assert daemon.request("DELETE", "/git/branches?name=topic/one").status == 409, "not merged"
    assert daemon.request("DELETE", "/git/branches?name=topic/one&force=true").status == 200
    assert daemon.request("DELETE", "/git/branches?name=topic/one").status == 404
    git("checkout", "-q", "--", "a.txt", cwd=repo)
    assert daemon.post("/git/switch", {"name": "main"})["current"] == "main"


HOSTILE_NAMES = (
    "", "-x", "--all", "a..b", "a b", "a~1", "a^", "a:b", "@{-1}", "HEAD", "a.lock", "/a", "a/",
    "a//b", ".a", "thread:x", "ephemeral", "$(touch x)", "a;b", "a\nb", "ä", "x" * 300,
)  # fmt: skip
HOSTILE_REFERENCES = ("--output=x", "-p", "a\0b", "HEAD~999", "x" * 5000)


def test_hostile_names_are_refused(daemon: DaemonProcess, repo: Path) -> None:
    before = sorted(os.listdir(repo))
    for name in HOSTILE_NAMES:
        daemon.post("/git/branches", {"name": name}, 400)
        daemon.post("/git/switch", {"name": name}, 400)
        daemon.post("/git/rebase", {"base": name}, 400)
    for ref in HOSTILE_REFERENCES:
        get(daemon, f"/git/diff?against={quote(ref)}", 400)
        get(daemon, f"/git/log?ref={quote(ref)}", 400)
        get(daemon, f"/git/commit?sha={quote(ref)}", 404)
        daemon.post("/git/branches", {"name": "fine", "from": ref}, 400)
    assert sorted(os.listdir(repo)) == before


def test_what_is_staged_and_what_is_not(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a.txt").write_text("staged\n")
    git("add", "a.txt", cwd=repo)
    (repo / "a.txt").write_text("staged, then more\n")
    (repo / "b.txt").write_text("not staged\n")
    (repo / "new.txt").write_text("new\n")
    staged = get(daemon, "/git/diff?what=staged")
    assert staged["files"] == ["a.txt"]
    assert "+staged\n" in staged["diffs"]["a.txt"]
    unstaged = get(daemon, "/git/diff?what=unstaged")
    assert unstaged["files"] == ["a.txt", "b.txt", "new.txt"]
    assert "-staged\n" in unstaged["diffs"]["a.txt"]
    assert get(daemon, "/git/diff?path=b.txt")["files"] == ["b.txt"]
    get(daemon, "/git/diff?path=../x", 400)
    get(daemon, "/git/diff?what=x", 400)


def test_chosen_files_are_committed_and_nothing_else(daemon: DaemonProcess, repo: Path) -> None:
    for name in ("a.txt", "b.txt", "new.txt", "other.txt"):
        (repo / name).write_text("changed\n")
    (repo / "c/d.txt").unlink()
    git("add", "b.txt", cwd=repo)
    paths = ["a.txt", "new.txt", "c/d.txt"]
    made = daemon.post("/git/commit", {"message": "some", "filepaths": paths})
    assert made["committed"] is True
    assert set(get(daemon, "/git/diff?against=HEAD~1&what=staged")["files"]) == {*paths, "b.txt"}
    assert files(daemon) == {"b.txt": "M ", "other.txt": "??"}
    again = daemon.post("/git/commit", {"message": "some", "filepaths": ["a.txt"]})
    assert again["committed"] is False
    daemon.post("/git/commit", {"message": "x", "filepaths": ["../../x"]}, 400)
    daemon.post("/git/commit", {"message": "x", "filepaths": ["missing"]}, 409)


def test_the_log_comes_in_pages(daemon: DaemonProcess, repo: Path) -> None:
    for n in range(5):
        (repo / f"{n}.txt").write_text(f"{n}\n")
        daemon.post("/git/commit", {"message": f"number {n}"})
    page = get(daemon, "/git/log?limit=2")
    assert [c["subject"] for c in page["commits"]] == ["number 4", "number 3"]
    assert page["more"] is True
    page = get(daemon, "/git/log?limit=3&skip=3")
    assert ([c["subject"] for c in page["commits"]], page["more"]) == (
        ["number 1", "number 0", "files"], False,
    )  # fmt: skip
    assert [c["subject"] for c in get(daemon, "/git/log?path=3.txt")["commits"]] == ["number 3"]
    assert len(get(daemon, "/git/log?ref=origin/main")["commits"]) == 1


def test_a_file_whose_name_is_not_utf8(daemon: DaemonProcess, repo: Path) -> None:
    Path(os.fsdecode(bytes(repo) + b"/" + ODD)).write_text("odd\n")
    assert files(daemon) == {SENT: "??"}
    assert "+odd" in get(daemon, "/git/diff")["diffs"][SENT]
    daemon.post("/git/commit", {"message": "odd", "filepaths": [SENT]})
    assert files(daemon) == {}
    Path(os.fsdecode(bytes(repo) + b"/" + ODD)).write_text("changed\n")
    assert daemon.post("/git/discard", {"filepaths": [SENT]})["discarded"] == [SENT]
    assert Path(os.fsdecode(bytes(repo) + b"/" + ODD)).read_text() == "odd\n"


def test_fetch_tells_how_far_and_pull_only_moves_forward(
    daemon: DaemonProcess, repo: Path, server: GitServer
) -> None:
    daemon.post("/git/pull", {}, 404)
    assert daemon.post("/git/push", {})["pushed"] is True
    git("fetch", "-q", "origin", f"{BRANCH}:{BRANCH}", cwd=server.folder / "docs.work")
    git("checkout", "-q", BRANCH, cwd=server.folder / "docs.work")
    theirs = server.commit("docs", {"theirs.txt": "x\n"}, branch=BRANCH)
    server.commit("docs", {"base.txt": "x\n"}, branch="main")
    told = daemon.post("/git/fetch", {})
    assert (told["unpushed"], told["unpulled"]) == (0, 1)
    assert not (repo / "theirs.txt").exists()
    (repo / "theirs.txt").write_text("in the way\n")
    assert daemon.post("/git/pull", {}, 409)["diverged"] is False
    (repo / "theirs.txt").unlink()
    assert daemon.post("/git/pull", {}) == {"pulled": True, "branch": BRANCH, "sha": theirs}
    assert daemon.post("/git/pull", {})["pulled"] is False
    server.commit("docs", {"theirs.txt": "y\n"}, branch=BRANCH)
    (repo / "a.txt").write_text("mine\n")
    daemon.post("/git/commit", {"message": "mine"})
    assert daemon.post("/git/push", {}, 409)["diverged"] is True
    assert daemon.post("/git/pull", {}, 409)["diverged"] is True
    daemon.post("/git/rebase", {"base": BRANCH})
    assert daemon.post("/git/push", {})["pushed"] is True


def test_a_protected_branch_is_not_pushed(daemon: DaemonProcess, repo: Path) -> None:
    daemon.post("/git/switch", {"name": "main"})
    assert daemon.post("/git/push", {}, 409)["protected"] is True
    git("checkout", "-q", "--detach", cwd=repo)
    assert "detached" in daemon.post("/git/push", {}, 409)["error"]


def test_wrong_credentials_of_a_call_are_the_remotes_refusal(
    daemon: DaemonProcess, server: GitServer
) -> None:
    wrong = {"username": CREDENTIALS[0], "password": "wrong-password"}
    told = daemon.post("/git/push", {"credentials": wrong}, 502)
    assert "wrong-password" not in str(told)
    daemon.post("/git/push", {"credentials": {"username": "a\nb", "password": "x"}}, 400)
    daemon.post("/git/push", {"credentials": {"username": "a"}}, 400)
    assert server.head("docs", BRANCH) is None


def test_credentials_go_to_the_clones_server_alone(
    daemon: DaemonProcess, repo: Path, server: GitServer, tmp_path: Path
) -> None:
    with GitServer.start(tmp_path / "thief", ("user", "other")) as thief:
        thief.add_repository("docs", {})
        ca = server.ca_file.read_text() + thief.ca_file.read_text()
        git("config", "http.sslCAInfo", str(tmp_path / "both.pem"), cwd=repo)
        (tmp_path / "both.pem").write_text(ca)
        server.ca_file.write_text(ca)
        git("remote", "set-url", "origin", thief.url("docs"), cwd=repo)
        given = {"username": "user", "password": "secret-of-this-call"}
        daemon.post("/git/push", {"credentials": given}, 502)
        assert thief.request_count > 0
        assert not any("Authorization" in headers for headers in thief.seen_headers)


def test_the_credentials_of_a_call_are_nowhere_while_it_runs_nor_after(
    tmp_path: Path, root: Path
) -> None:

    password = "per-call-secret-4711"
    hidden = [password.encode(), base64.b64encode(f"user:{password}".encode())]
    seen: list[str] = []
    with GitServer.start(tmp_path / "git") as server:
        server.add_repository("docs", {"a.txt": "one\n"})
        environ = {"GIT_SSL_CAINFO": str(server.ca_file)}
        with DaemonProcess.running(root / "workspace", **environ) as daemon:
            configure(daemon, server.url("docs"), branch=BRANCH)
            wait_phase(daemon, "start-failed")
            server.credentials = ("user", password)
            asked, looked = threading.Event(), threading.Event()

            def hold(path: str) -> None:
                if path.endswith("/git-receive-pack"):
                    asked.set()
                    looked.wait(60)

            server.failing = hold
            (root / "workspace/repo/a.txt").write_text("two\n")
            body = {"message": "x", "credentials": {"username": "user", "password": password}}
            answers: list[object] = []

            def publish() -> None:
                answers.append(daemon.post("/git/publish", body))

            call = threading.Thread(target=publish)
            call.start()
            assert asked.wait(60)
            for process in Path("/proc").iterdir():
                for what in ("cmdline", "environ"):
                    try:
                        data = (process / what).read_bytes()
                    except OSError:
                        continue
                    if any(secret in data for secret in hidden) and process.name != "self":
                        seen.append(f"{process.name}/{what}")
            looked.set()
            call.join()
            assert "pushed" in str(answers)
            paths = ("/config", "/tasks", "/logs", "/git/status", "/git/log")
            seen += [path for path in paths if password in json.dumps(get(daemon, path))]
            wrong = {**body, "credentials": {"username": "user", "password": password + "x"}}
            server.credentials = ("user", "other")
            if password in json.dumps(daemon.post("/git/publish", wrong, 502)):
                seen.append("error")
            events = daemon.http.request(
                "GET", f"{daemon.url}/_sandbox/events", preload_content=False
            )
            if any(secret in events.read1() for secret in hidden):
                seen.append("events")
            events.close()
            for file in root.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    data = file.read_bytes()
                    if any(secret in data for secret in hidden):
                        seen.append(str(file))
            daemon.post("/git/push", {}, 502)
            daemon.process.terminate()
            daemon.process.wait(30)
            assert daemon.process.stdout is not None
            if password.encode() in daemon.process.stdout.read():
                seen.append("output")
    assert seen == []
