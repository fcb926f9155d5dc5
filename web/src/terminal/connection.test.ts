import { expect, test } from "vitest";
import { type Connection, TerminalConnection } from "./connection.ts";
import { typedBy, withCtrl } from "./keys.ts";
import { endedWord, stateWords } from "./words.ts";

class Socket {
  binaryType = "";
  readyState = 0;
  sent: unknown[] = [];
  onmessage: (event: { data: unknown }) => void = () => {};
  onclose: () => void = () => {};
  send(data: unknown) {
    this.sent.push(data);
  }
  tell(message: unknown) {
    this.readyState = 1;
    this.onmessage({ data: JSON.stringify(message) });
  }
  close() {
    this.readyState = 3;
    this.onclose();
  }
}

function terminal(isThere = () => Promise.resolve(true)) {
  const sockets: Socket[] = [];
  const states: Connection[] = [];
  const shown: string[] = [];
  const pauses: number[] = [];
  const connection = new TerminalConnection(
    "ws://x/pty/task1",
    {
      onState: (state) => states.push(state),
      onAfresh: () => shown.push("afresh"),
      onOutput: (bytes) => shown.push(new TextDecoder().decode(bytes)),
    },
    isThere,
    {
      connect: () => {
        const socket = new Socket();
        sockets.push(socket);
        return socket as unknown as WebSocket;
      },
      pause: (ms) => {
        pauses.push(ms);
        return Promise.resolve();
      },
    },
  );
  const done = connection.run();
  const latest = async (count: number) => {
    for (let turn = 0; turn < 50 && sockets.length < count; turn += 1) await Promise.resolve();
    return sockets[count - 1] as Socket;
  };
  return { connection, done, latest, states, shown, pauses };
}

const kinds = (states: Connection[]) => states.map(({ kind }) => kind);
const bytes = (text: string) => new TextEncoder().encode(text).buffer;

test("what was lost is taken up again, and the screen begins anew", async () => {
  const { connection, latest, states, shown, pauses, done } = terminal();
  const first = await latest(1);
  connection.type(new Uint8Array([98]));
  expect(first.sent).toEqual([]);
  first.tell({ type: "ready", pty: true });
  first.onmessage({ data: bytes("$ ") });
  expect(first.sent).toEqual([new Uint8Array([98])]);
  first.close();
  const second = await latest(2);
  expect(connection.type(new Uint8Array([97]))).toBe(false);
  second.tell({ type: "ready", pty: true });
  second.onmessage({ data: bytes("$ ls") });
  expect(connection.type(new Uint8Array([97]))).toBe(true);
  connection.resize(80, 24);
  expect(second.sent).toEqual([new Uint8Array([97]), '{"type":"resize","cols":80,"rows":24}']);
  expect(kinds(states)).toEqual(["connecting", "open", "lost", "open"]);
  expect(shown).toEqual(["afresh", "$ ", "afresh", "$ ls"]);
  expect(pauses).toEqual([1000]);
  connection.stop();
  await done;
  expect(kinds(states)).toHaveLength(4);
});

test("tries that fail come slower and slower", async () => {
  const { connection, latest, pauses } = terminal();
  for (let count = 1; count <= 4; count += 1) (await latest(count)).close();
  await latest(5);
  expect(pauses).toEqual([1000, 2000, 4000, 8000]);
  connection.stop();
});

test("an end is said with its exit code, and nothing is tried any more", async () => {
  const { latest, states, done } = terminal();
  const socket = await latest(1);
  socket.tell({ type: "ready", pty: true });
  socket.tell({ type: "exit", exitCode: 3, status: "exited", reason: null });
  socket.close();
  await done;
  expect(states.at(-1)).toEqual({ kind: "ended", exitCode: 3, status: "exited", reason: null });
});

test("a terminal that the sandbox does not know is gone; one that nobody answers for is not", async () => {
  const forgotten = terminal(() => Promise.resolve(false));
  (await forgotten.latest(1)).close();
  await forgotten.done;
  expect(kinds(forgotten.states)).toEqual(["connecting", "lost", "gone"]);
  const away = terminal(() => Promise.reject(new Error("away")));
  (await away.latest(1)).close();
  await away.latest(2);
  expect(kinds(away.states)).toEqual(["connecting", "lost"]);
  away.connection.stop();
});

test("states are said in words", () => {
  const ended = (exitCode: number, reason: string | null, status = "exited") =>
    stateWords({ kind: "ended", exitCode, reason, status });
  expect(ended(0, null)).toBe("Ended with exit code 0.");
  expect(ended(0, "the workspace is being restored")).toBe("Ended because the workspace is being restored.");
  expect(ended(143, null, "killed")).toBe("It was ended.");
  expect(stateWords({ kind: "open", pty: true })).toBe("");
  const one = { id: "t", command: "shell", startedAt: 0, finishedAt: 1, busy: false };
  expect(endedWord({ ...one, status: "exited", exitCode: 2 })).toBe("exit 2");
  expect(endedWord({ ...one, status: "running", exitCode: null })).toBe("");
});

test("the keys type what a terminal's do", () => {
  expect([typedBy("ArrowUp", false), typedBy("ArrowUp", true), typedBy("Escape", false), typedBy("Tab", false)]).toEqual(
    ["\u001B[A", "\u001BOA", "\u001B", "\t"],
  );
  expect(["c", "C", "[", " ", "1", "cc"].map(withCtrl)).toEqual(["\u0003", "\u0003", "\u001B", "\0", "1", "cc"]);
});
