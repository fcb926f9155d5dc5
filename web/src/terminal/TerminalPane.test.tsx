// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useEffect } from "react";
import { beforeEach, expect, test, vi } from "vitest";
import type { Terminal } from "../api/insideTypes.ts";
import { type Answers, show } from "../test/app.tsx";
import { DAEMON, EVENTS, running } from "../test/inside.ts";
import { sse } from "../test/thread.ts";
import type { Connection } from "./connection.ts";

const shown: { url: string; onState: (state: Connection) => void; ctrl: boolean }[] = [];
const pressed: string[] = [];

// jsdom draws nothing; what xterm.js shows is looked at in a real browser.
vi.mock("./Screen.tsx", () => ({
  Screen: (props: (typeof shown)[number] & { onHandle: (handle: unknown) => void }) => {
    useEffect(() => {
      shown.push(props);
      props.onHandle({ press: (key: string) => pressed.push(key), focus: () => {} });
    });
    return <p>Screen of {props.url.split("/").at(-1)}{props.ctrl && " with Ctrl"}</p>;
  },
}));

beforeEach(() => {
  shown.length = 0;
  pressed.length = 0;
});

const PAGE = "/local/agents/agt_1?main=terminal";
const shell: Terminal = {
  id: "task1",
  command: "shell",
  status: "running",
  exitCode: null,
  startedAt: 0,
  finishedAt: null,
  busy: false,
};
const having = (terminals: () => Terminal[]): Answers => ({
  ...running,
  [`GET ${DAEMON}/pty`]: () => ({ body: { terminals: terminals() } }),
});
const whats = (asked: { what: string }[]) => asked.map(({ what }) => what.replace(DAEMON, ""));

test("without a terminal it is said what one is, and a new one is shown and named in the address", async () => {
  let all: Terminal[] = [];
  const { router } = await show(PAGE, {
    ...having(() => all),
    [`POST ${DAEMON}/pty`]: () => {
      all = [shell];
      return { body: { id: "task1", pty: true } };
    },
  });
  expect((await screen.findByText(/goes on when you close this page/)).textContent).toContain("shell");
  await userEvent.click(screen.getByRole("button", { name: "Open a terminal" }));
  expect(await screen.findByText("Screen of task1")).toBeTruthy();
  expect(shown[0]?.url).toMatch(/^ws:.*\/daemon\/pty\/task1$/);
  await waitFor(() => expect(router.state.location.search).toEqual({ main: "terminal", terminal: "task1" }));
});

test("the terminal in the address is shown again, the others stand beside it", async () => {
  const ended: Terminal = { ...shell, id: "task2", status: "exited", exitCode: 3 };
  await show(`${PAGE}&terminal=task1`, having(() => [shell, ended]));
  expect(await screen.findByText("Screen of task1")).toBeTruthy();
  const nav = screen.getByRole("navigation", { name: "Terminals" });
  expect(within(nav).getByRole("button", { name: "Shell 1" }).getAttribute("aria-current")).toBe("page");
  await userEvent.click(within(nav).getByRole("button", { name: /^Shell 2/ }));
  expect(await screen.findByText("Screen of task2")).toBeTruthy();
  expect(within(nav).getByRole("button", { name: /^Shell 2/ }).textContent).toContain("exit 3");
});

test("what the connection is like is said in words", async () => {
  await show(PAGE, having(() => [shell]));
  await screen.findByText("Screen of task1");
  shown.at(-1)?.onState({ kind: "lost" });
  expect(await screen.findByText("The connection is lost; what runs goes on. Trying again…")).toBeTruthy();
  shown.at(-1)?.onState({ kind: "ended", exitCode: 7, status: "exited", reason: null });
  expect(await screen.findByText("Ended with exit code 7.")).toBeTruthy();
});

test("an idle shell is closed at once; where something runs it is asked first", async () => {
  let all = [shell];
  const close = () => {
    all = [];
    return { body: { ok: true } };
  };
  const { asked } = await show(PAGE, {
    ...having(() => all),
    [`POST ${DAEMON}/tasks/task1/kill`]: { body: { ok: true } },
    [`DELETE ${DAEMON}/tasks/task1`]: close,
  });
  await screen.findByText("Screen of task1");
  all = [{ ...shell, busy: true }];
  await userEvent.click(screen.getByRole("button", { name: "Close Shell 1" }));
  await userEvent.click(await screen.findByRole("button", { name: "Cancel" }));
  expect(whats(asked)).not.toContain("POST /tasks/task1/kill");
  all = [shell];
  await userEvent.click(screen.getByRole("button", { name: "Close Shell 1" }));
  expect(await screen.findByText("No terminal is open")).toBeTruthy();
  expect(whats(asked).filter((what) => what.includes("/tasks/"))).toEqual([
    "POST /tasks/task1/kill",
    "DELETE /tasks/task1",
  ]);
});

test("one that ends elsewhere is heard of", async () => {
  let all = [shell];
  const { tell } = await show(PAGE, having(() => all));
  await screen.findByText("Screen of task1");
  all = [{ ...shell, status: "exited", exitCode: 0 }];
  await tell(EVENTS, sse("tasks", { active: [] }));
  expect(await screen.findByText("exit 0")).toBeTruthy();
});

test("the row of keys types them, and Ctrl stays until it is used", async () => {
  await show(PAGE, having(() => [shell]));
  await screen.findByText("Screen of task1");
  await userEvent.click(screen.getByRole("button", { name: "Arrow up" }));
  await userEvent.click(screen.getByRole("button", { name: "Ctrl" }));
  expect(pressed).toEqual(["ArrowUp"]);
  expect(await screen.findByText("Screen of task1 with Ctrl")).toBeTruthy();
  await waitFor(() => expect(screen.getByRole("button", { name: "Ctrl" }).getAttribute("aria-pressed")).toBe("true"));
});
