// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { Sandbox, Snapshot } from "../api/types.ts";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";

const PAGE = "/local/agents/agt_1";
const event = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const answers = (boxes: Sandbox[], events = ": nothing yet\n\n"): Answers => ({
  "GET /api/system": { body: {} },
  "GET /api/local/agents/agt_1": { body: agent },
  "GET /api/local/sandboxes": { body: { sandboxes: boxes } },
  "GET /api/local/vm-events": { body: events },
});
const starts = (asked: { what: string; body: unknown }[]) =>
  asked.filter(({ what }) => what === "POST /api/local/vm/start").map(({ body }) => body);

test("until it is known whose page it is, it says that it is being opened", async () => {
  let answer = () => {};
  const asked = new Promise<void>((go) => {
    answer = go;
  });
  await show(PAGE, {
    ...answers([box]),
    "GET /api/local/agents/agt_1": () => asked.then(() => ({ body: agent })),
  });
  const main = await screen.findByRole("main");
  expect(within(main).getByRole("heading", { level: 1 }).textContent).toBe("Opening…");
  answer();
  expect(await screen.findByRole("heading", { level: 1, name: agent.title })).toBeTruthy();
});

test("opening the page starts the sandbox, once, on the agent's branch", async () => {
  const { asked } = await show(PAGE, {
    ...answers([], event("phase", { kind: "restoring", bytes: 1, total: 4 })),
    "POST /api/local/vm/start": { body: { vmId: "calm-cove-1" } },
  });
  await waitFor(() => expect(starts(asked)).toHaveLength(1));
  expect(starts(asked)).toEqual([
    { virtualMcpId: "agt_1", branch: "limpet/calm-cove", withoutSnapshot: false },
  ]);
});

const ended = (reason: "asked" | "gone") => ({
  reason,
  at: new Date(Date.now() - 150_000).toISOString(),
  by: "owner",
  through: reason === "asked" ? ("api-key" as const) : null,
});

test("what somebody stopped while the page is open stays stopped until it is started by hand", async () => {
  const boxes = [box];
  const { asked, tell, streams } = await show(PAGE, {
    ...answers(boxes, event("lifecycle", { state: { phase: "running", port: 1 } })),
    "POST /api/local/vm/start": { body: { vmId: "calm-cove-1" } },
  });
  await screen.findByTitle("Live preview");
  const stopped: Sandbox = { ...box, state: "stopped", ended: ended("asked") };
  boxes[0] = stopped;
  await tell("GET /api/local/vm-events", event("sandbox", stopped));
  expect(await screen.findByRole("heading", { name: "Not running" })).toBeTruthy();
  expect(screen.getByText(/^Stopped 2 min ago by a program or from the command line\./)).toBeTruthy();
  const looks = () => streams.filter(({ what }) => what === "GET /api/local/vm-events").length;
  const boxLooks = () => asked.filter(({ what }) => what === "GET /api/local/sandboxes").length;
  const seen = [looks(), boxLooks()] as const;
  for (const { stream } of streams) stream.end();
  await waitFor(() => {
    expect(looks()).toBeGreaterThan(seen[0]);
    expect(boxLooks()).toBeGreaterThan(seen[1]);
    expect(screen.queryByText("reconnecting…")).toBeNull();
  }, { timeout: 5000 });
  expect(starts(asked)).toEqual([]);
  await userEvent.click(screen.getAllByRole("button", { name: "Start" })[0] as HTMLElement);
  await waitFor(() => expect(starts(asked)).toHaveLength(1));
});

test("what ended by itself while the page is open is started again by the page", async () => {
  const boxes = [box];
  const { asked, tell } = await show(PAGE, {
    ...answers(boxes),
    "POST /api/local/vm/start": () => {
      boxes[0] = box;
      return { body: { vmId: "calm-cove-1" } };
    },
  });
  const gone: Sandbox = { ...box, state: "stopped", ended: ended("gone") };
  boxes[0] = gone;
  await tell("GET /api/local/vm-events", event("sandbox", gone));
  await waitFor(() => expect(starts(asked)).toHaveLength(1));
});

test("a store that is away asks the user, and going on without it is said to the server", async () => {
  const error = { code: "store_unreachable", message: "The store is away", hint: "Wait." };
  const { asked } = await show(PAGE, {
    ...answers([]),
    "POST /api/local/vm/start": (body) =>
      (body as { withoutSnapshot: boolean }).withoutSnapshot
        ? { body: { vmId: "calm-cove-1" } }
        : { status: 503, body: { error } },
  });
  const dialog = await screen.findByRole("dialog");
  expect(dialog.textContent).toContain("The store is away");
  expect(dialog.textContent).toContain("nothing is overwritten");
  await userEvent.click(screen.getByRole("button", { name: "Start without the snapshot" }));
  await waitFor(() => expect(starts(asked)).toHaveLength(2));
  expect(starts(asked)[1]).toMatchObject({ withoutSnapshot: true });
});

test("a failed step shows what the command said, and can be tried again", async () => {
  const retry = "POST /api/local/sandboxes/calm-cove-1/daemon/setup/install";
  const { asked } = await show(PAGE, {
    ...answers(
      [box],
      event("lifecycle", { state: { phase: "install-failed", error: "exit 1" } }) +
        event("log", { source: "setup", data: "npm error no such package\n" }),
    ),
    [retry]: { body: { enqueued: "install" } },
  });
  expect(await screen.findByText("npm error no such package")).toBeTruthy();
  expect(screen.getByRole("alert").textContent).toBe("exit 1");
  await userEvent.click(screen.getByRole("button", { name: "Try again" }));
  await waitFor(() => expect(asked.map(({ what }) => what)).toContain(retry));
});

test("the live preview shows while the dev server runs, with where the work stands", async () => {
  await show(PAGE, answers([box], event("lifecycle", { state: { phase: "running", port: 1 } })));
  const frame = await screen.findByTitle<HTMLIFrameElement>("Live preview");
  expect(frame.src).toBe(box.preview_url);
  expect(screen.getByText("Nothing to save yet")).toBeTruthy();
});

test("work that was saved aside is offered, and brought back by a restore", async () => {
  const aside = { id: "snap-1", lineage: "side-1", created_at: "2026-01-01T00:00:00Z" } as Snapshot;
  const restore = "POST /api/local/agents/agt_1/snapshots/snap-1/restore";
  const { asked } = await show(PAGE, {
    ...answers([{ ...box, side_snapshots: [aside] }]),
    [restore]: { body: { head: aside, saved_first: null } },
  });
  await userEvent.click(await screen.findByRole("button", { name: "Bring back" }));
  await userEvent.click(screen.getByRole("button", { name: "Bring it back" }));
  await waitFor(() => expect(asked.map(({ what }) => what)).toContain(restore));
});

test("a detached sandbox lets the user choose which work goes on", async () => {
  const { asked } = await show(PAGE, {
    ...answers([{ ...box, detached: true, detached_reason: "The store was away." }]),
    "POST /api/local/agents/agt_1/snapshots": { body: { id: "snap-2" } },
    "POST /api/local/agents/agt_1/snapshots/snap-2/restore": { body: {} },
  });
  expect(await screen.findByRole("button", { name: "Go back to the saved work" })).toBeTruthy();
  const banner = screen.getByRole("region", { name: /^This sandbox is detached/ });
  expect(banner.textContent).toContain("What happenedThe store was away.");
  expect(banner.textContent).toContain("What is safeThe saved work is untouched. What you did here is saved aside.");
  await userEvent.click(screen.getByRole("button", { name: "Use this work" }));
  await userEvent.click(screen.getByRole("button", { name: "Use it" }));
  await waitFor(() =>
    expect(asked.map(({ what }) => what)).toContain(
      "POST /api/local/agents/agt_1/snapshots/snap-2/restore",
    ),
  );
});
