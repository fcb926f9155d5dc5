"""An agent of the tests: the lines of a message are what it does. Standard library alone.

Arguments say how it is:
  version N          the protocol's version that it speaks
  offers WHAT...     load, resume, modes, options, models, auth-env NAME, auth-key, auth-login
  noise N            lines on standard output that are no messages, before anything else
  silent METHOD      it never answers to that
  dies METHOD CODE   it ends when it is asked that
  answers METHOD RAW a line in the place of the answer

Verbs of a message:
  say TEXT, think TEXT, plan A|B, cost USD, used JSON, ends REASON, fail CODE WORDS
  ask METHOD JSON    a request to the client, whose answer is said (it knows $repo, $session, $last)
  note METHOD JSON   a notification
  raw TEXT           a line as it is
  update JSON        a session/update
  long BYTES         a line without an end
  flood N            so many updates
  permission KINDS   may it? said which option was chosen
  env NAME, cwd      says it
  model TEXT         asks the model of the environment as Anthropic's are asked; the answer is said
  told               says what came before the message itself
  hang               nothing more is done; session/cancel ends it, and is written to $HOME/cancelled
  deaf               the same, and session/cancel changes nothing
  die CODE WORDS     the end of the process, with words on standard error
  later METHOD JSON  a request that is made after the answer
"""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HOME = Path(os.environ["HOME"])
REPO = str(Path.cwd())
NO_SESSION = (-32002, "No such session")


def given() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    words = sys.argv[1:]
    counts = {"version": 1, "noise": 1, "silent": 1, "dies": 2, "answers": 2}
    while words:
        name, rest = words[0], words[1:]
        taken = counts.get(name, len(rest))
        found[name] = rest[:taken]
        words = rest[taken:]
    return found


GIVEN = given()
OFFERS = GIVEN.get("offers", [])


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def send(**message: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}))


def note_down(name: str, told: Any) -> None:
    with (HOME / name).open("a") as file:
        file.write(json.dumps(told) + "\n")


class Agent:
    def __init__(self) -> None:
        self.session = ""
        self.asked = 0
        self.last = ""
        self.signed_in = not any(one.startswith("auth") for one in OFFERS)
        self.waiting: list[dict[str, Any]] = []
        self.reads = iter(sys.stdin.readline, "")

    # -- the wire

    def update(self, **told: Any) -> None:
        send(method="session/update", params={"sessionId": self.session, "update": told})

    def say(self, text: str, kind: str = "agent_message_chunk") -> None:
        self.update(sessionUpdate=kind, content={"type": "text", "text": text})

    def ask(self, method: str, params: Any) -> dict[str, Any]:
        self.asked += 1
        number = f"mine-{self.asked}"
        send(id=number, method=method, params=params)
        for line in self.reads:
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message
            if message.get("method") == "session/cancel":
                note_down("cancelled", message)
            else:
                self.waiting.append(message)
        raise SystemExit(0)

    def put_in(self, text: str) -> Any:
        for name, value in (("repo", REPO), ("session", self.session), ("last", self.last)):
            text = text.replace(f"${name}", value)
        return json.loads(text)

    # -- what the client asks

    def main(self) -> None:
        for number in range(int(GIVEN.get("noise", ["0"])[0])):
            write(f"npm notice {number}")
        while True:
            message = self.waiting.pop(0) if self.waiting else json.loads(next(self.reads, "null"))
            if message is None:
                note_down("ended", "end of input")
                return
            self.one(message)

    def one(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params") or {}
        if method is None or "id" not in message:
            return
        note_down("asked", {"method": method, **params})
        if GIVEN.get("silent") == [method]:
            return
        if GIVEN.get("dies", [""])[0] == method:
            sys.stderr.write("no such feature\n")
            sys.exit(int(GIVEN["dies"][1]))
        if GIVEN.get("answers", [""])[0] == method:
            write(GIVEN["answers"][1].replace("$id", json.dumps(message["id"])))
            return
        acts = {
            "initialize": self.initialize,
            "authenticate": self.authenticate,
            "session/new": self.new,
            "session/load": self.load,
            "session/resume": self.load,
            "session/set_mode": lambda _: {},
            "session/set_model": lambda _: {},
            "session/set_config_option": lambda _: {"configOptions": []},
            "session/prompt": self.prompt,
        }
        try:
            if method not in acts:
                raise RefusedError(-32601, "Method not found")
            send(id=message["id"], result=acts[method](params))
        except RefusedError as refusal:
            code, words = refusal.args
            send(id=message["id"], error={"code": code, "message": words})
        self.after()

    def initialize(self, _params: Any) -> dict[str, Any]:
        methods: list[dict[str, Any]] = []
        if "auth-env" in OFFERS:
            name = OFFERS[OFFERS.index("auth-env") + 1]
            methods.append(
                {"id": "env", "name": "Key", "type": "env_var", "vars": [{"name": name}]}
            )
        if "auth-key" in OFFERS:
            methods.append({"id": "scripted-api-key", "name": "Key"})
        if "auth-login" in OFFERS:
            methods.append({"id": "oauth", "name": "Log in with a browser"})
        return {
            "protocolVersion": int(GIVEN.get("version", ["1"])[0]),
            "agentInfo": {"name": "scripted", "title": "Scripted", "version": "1"},
            "agentCapabilities": {
                "loadSession": "load" in OFFERS,
                "sessionCapabilities": {"resume": {}} if "resume" in OFFERS else {},
            },
            "authMethods": methods,
        }

    def authenticate(self, params: Any) -> dict[str, Any]:
        if params["methodId"] == "oauth":
            raise RefusedError(-32000, "No browser here")
        self.signed_in = True
        return {}

    def new(self, _params: Any) -> dict[str, Any]:
        if not self.signed_in:
            raise RefusedError(-32000, "Authentication required")
        folder = HOME / "sessions"
        folder.mkdir(exist_ok=True)
        self.session = f"session-{len(list(folder.iterdir())) + 1}"
        (folder / self.session).write_text("[]")
        return {"sessionId": self.session, **self.choices()}

    def load(self, params: Any) -> dict[str, Any]:
        if not (HOME / "sessions" / params["sessionId"]).exists():
            raise RefusedError(*NO_SESSION)
        self.session = params["sessionId"]
        self.say("what was said before, told again")
        return self.choices()

    def choices(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if "modes" in OFFERS:
            modes = [{"id": one, "name": one} for one in ("default", "bypassPermissions")]
            told["modes"] = {"currentModeId": "default", "availableModes": modes}
        if "options" in OFFERS:
            names = ["free/model", "anthropic/claude-haiku", "anthropic/claude-sonnet-4-6"]
            told["configOptions"] = [
                {"id": "m", "name": "Model", "category": "model", "type": "select",
                 "currentValue": names[0], "options": [{"value": n, "name": n} for n in names]},
                {"id": "mode", "name": "Mode", "category": "mode", "type": "select",
                 "currentValue": "ask", "options": [{"value": "yolo", "name": "YOLO"}]},
            ]  # fmt: skip
        if "models" in OFFERS:
            models = [{"modelId": "claude-sonnet-4-6", "name": "Sonnet"}]
            told["models"] = {"currentModelId": "other", "availableModels": models}
        return told

    def prompt(self, params: Any) -> dict[str, Any]:
        file = HOME / "sessions" / self.session
        texts = [block["text"] for block in params["prompt"]]
        file.write_text(json.dumps([*json.loads(file.read_text()), texts]))
        answer: dict[str, Any] = {"stopReason": "end_turn"}
        for line in texts[-1].splitlines():
            verb, _, rest = line.partition(" ")
            if verb == "ends":
                answer["stopReason"] = rest
            elif verb == "used":
                answer["usage"] = json.loads(rest)
            elif self.do(verb, rest, texts):
                return {"stopReason": "cancelled"}
        return answer

    def do(self, verb: str, rest: str, texts: list[str]) -> bool:
        """One line; whether the turn was cancelled in it."""
        match verb:
            case "say" | "think":
                self.say(rest, f"agent_{'thought' if verb == 'think' else 'message'}_chunk")
            case "plan":
                entries = [{"content": one, "priority": "low", "status": "pending"}
                           for one in rest.split("|")]  # fmt: skip
                self.update(sessionUpdate="plan", entries=entries)
            case "cost":
                cost = {"amount": float(rest), "currency": "USD"}
                self.update(sessionUpdate="usage_update", used=1, size=2, cost=cost)
            case "ask" | "note":
                method, _, params = rest.partition(" ")
                if verb == "note":
                    send(method=method, params=self.put_in(params))
                    return False
                told = self.ask(method, self.put_in(params))
                answer = told.get("result", told.get("error"))
                self.last = str((answer or {}).get("terminalId", self.last))
                self.say(json.dumps(answer, ensure_ascii=False) + "\n")
            case "raw":
                write(rest)
            case "update":
                self.update(**self.put_in(rest))
            case "long":
                sys.stdout.write("x" * int(rest))
                sys.stdout.flush()
            case "flood":
                for number in range(int(rest)):
                    self.say(f"{number} ")
            case "permission":
                options = [{"optionId": f"o-{k}", "name": k, "kind": k} for k in rest.split()]
                told = self.ask(
                    "session/request_permission",
                    {"sessionId": self.session, "options": options, "toolCall": {
                        "toolCallId": "c", "title": "Delete all", "rawInput": {"what": "all"}}},
                )  # fmt: skip
                self.say(json.dumps(told.get("result", told.get("error"))))
            case "model":
                self.say(asked_of_model(rest))
            case "env":
                self.say(os.environ.get(rest, "(none)"))
            case "cwd":
                self.say(REPO)
            case "told":
                self.say(json.dumps(texts[:-1]))
            case "fail":
                code, _, words = rest.partition(" ")
                raise RefusedError(int(code), words)
            case "die":
                code, _, words = rest.partition(" ")
                sys.stderr.write(words + "\n")
                sys.exit(int(code))
            case "hang" | "deaf":
                return self.hang(deaf=verb == "deaf")
            case "later":
                self.late = rest
            case _:
                raise RefusedError(-32602, f"no verb {verb!r}")
        return False

    late = ""

    def after(self) -> None:
        if self.late:
            method, _, params = self.late.partition(" ")
            self.late = ""
            note_down("late", self.ask(method, self.put_in(params)).get("error"))

    def hang(self, *, deaf: bool) -> bool:
        for line in self.reads:
            message = json.loads(line)
            if message.get("method") == "session/cancel":
                note_down("cancelled", message)
                if not deaf:
                    return True
        while deaf:
            signal.pause()
        raise SystemExit(0)


def asked_of_model(text: str) -> str:
    body = {
        "model": "any", "max_tokens": 10, "stream": True,
        "messages": [{"role": "user", "content": text}],
    }  # fmt: skip
    request = urllib.request.Request(
        os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
        json.dumps(body).encode(),
        {"content-type": "application/json", "x-api-key": os.environ["ANTHROPIC_API_KEY"]},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            lines = answer.read().decode().splitlines()
    except urllib.error.HTTPError as error:
        return f"[{error.code}]"
    events = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
    return "".join(event.get("delta", {}).get("text", "") for event in events)


class RefusedError(Exception):
    """An error as an answer: its code and words."""


if __name__ == "__main__":
    Agent().main()
