// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { box, receipt, snapshot } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";

const stats = {
  kind: "local",
  where: "/data/sandbox-snapshots",
  snapshots: 12,
  logical_bytes: 10_000_000,
  stored_bytes: 2_000_000,
  shared_bytes: 500_000,
  condemned_bytes: 0,
  quota_bytes: null,
  measured_at: "2026-01-01T00:00:00Z",
  retention: { last: 10, hours: 24, days: 30, turns: 200, source: "server" },
  last_prune: null,
};
const fine = { what: "git", verdict: "ok", found: "git version 2.39", remedy: "" };
const missing = { what: "ripgrep", verdict: "warning", found: "not found", remedy: "Debian: apt install ripgrep." };
const answers: Answers = {
  "GET /api/system": { body: { version: "1", runner: "host", data_dir: "/data" } },
  "GET /api/local/sandboxes": {
    body: {
      sandboxes: [
        { ...box, last_save: { ...snapshot, receipt: { ...receipt, bytes: 3_400_000 } } },
        { ...box, handle: "other", agent_title: "Asleep", state: "stopped" },
      ],
    },
  },
  "GET /api/local/sandbox-figures": {
    body: { figures: [{ handle: box.handle, memory_bytes: 123_400_000, idle_ms: 180_000 }] },
  },
  "GET /api/local/store/stats": { body: stats },
  "GET /api/local/retention": { body: stats.retention },
  "GET /api/local/model-providers": { body: { providers: [] } },
  "POST /api/local/doctor": (body) => ({
    body: {
      ok: true,
      findings: (body as { store: boolean }).store ? [fine, { ...fine, what: "store" }] : [fine, missing],
    },
  }),
};

test("what runs is listed with what it takes; what sleeps is not", async () => {
  await show("/admin", answers);
  const table = within(await screen.findByRole("table", { name: "Sandboxes that run" }));
  const [, row, ...others] = await table.findAllByRole("row");
  expect(others).toEqual([]);
  await waitFor(() => expect(row?.textContent).toContain("123.4 MB"));
  for (const told of ["Tide table", "running", "3.4 MB", "3 min"]) expect(row?.textContent).toContain(told);
  expect(screen.getByText(/1 of 2/).textContent).toContain("123.4 MB of memory");
});

test("figures that are not told are no zeros", async () => {
  const figures = [{ handle: box.handle, memory_bytes: null, idle_ms: null }];
  await show("/admin", { ...answers, "GET /api/local/sandbox-figures": { body: { figures } } });
  const table = within(await screen.findByRole("table", { name: "Sandboxes that run" }));
  const cells = within((await table.findAllByRole("row"))[1] as HTMLElement).getAllByRole("cell");
  expect(cells.slice(3, 5).map((cell) => cell.textContent)).toEqual(["–", "–"]);
});

test("the chart's numbers stand in a table as well", async () => {
  await show("/admin", answers);
  const table = within(await screen.findByRole("table", { name: "Usage of the store" }));
  expect(table.getAllByRole("row").map((row) => row.textContent)).toEqual([
    "WhatSize",
    "Logical10.0 MB",
    "Stored2.0 MB",
    "Going to be deleted0 B",
    "Shared with templates500.0 kB",
  ]);
  expect(screen.getByText(/80 % are saved/)).toBeTruthy();
});

test("a clean-up is tried dry, and done only after a question", async () => {
  const report = { snapshots: 9, condemned_snapshots: 3, condemned_objects: 4, condemned_bytes: 5_000, spared: 0 };
  const pruned = { ...report, deleted_snapshots: 1, deleted_objects: 1, deleted_bytes: 900, waiting: 0 };
  const { asked } = await show("/admin", {
    ...answers,
    "POST /api/local/store/prune": (body) => ({ body: { ...pruned, ...(body as object) } }),
  });
  const prunes = () => asked.filter(({ what }) => what === "POST /api/local/store/prune").map(({ body }) => body);
  await userEvent.click(await screen.findByRole("button", { name: "What would a clean-up do?" }));
  expect(await screen.findByText(/It would condemn 3 snapshots/)).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Clean up now" }));
  expect(prunes()).toEqual([{ dry_run: true }]);
  await userEvent.click(await screen.findByRole("button", { name: "Clean up" }));
  await waitFor(() => expect(prunes()).toEqual([{ dry_run: true }, { dry_run: false }]));
});

test("the doctor says what to do, and tries the store when asked", async () => {
  await show("/admin", answers);
  const findings = within(await screen.findByRole("list", { name: "Findings" }));
  expect(findings.getAllByRole("listitem")[1]?.textContent).toContain("(worth a look): not foundDebian: apt install");
  await userEvent.click(screen.getByRole("button", { name: "Try the store too" }));
  expect(await screen.findByText("store")).toBeTruthy();
});

test("retention of all agents is kept for the org", async () => {
  const { asked } = await show("/admin", { ...answers, "POST /api/local/retention": { body: stats.retention } });
  const retention = within(await screen.findByRole("region", { name: "Retention" }));
  const last = await retention.findByRole("spinbutton", { name: /^The last/ });
  await userEvent.clear(last);
  await userEvent.type(last, "5");
  await userEvent.click(retention.getByRole("button", { name: "Keep it" }));
  await waitFor(() =>
    expect(asked.find(({ what }) => what === "POST /api/local/retention")?.body).toEqual({
      reset: false,
      last: 5,
      hours: 24,
      days: 30,
      turns: 200,
    }),
  );
});
