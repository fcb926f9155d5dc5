// @vitest-environment jsdom
import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { agent, box } from "../test/agent.ts";
import { type Answers, show } from "../test/app.tsx";

const AT = "/api/local/sandboxes/calm-cove-1/preview";
const live = `event: lifecycle\ndata: ${JSON.stringify({ state: { phase: "running", port: 1 } })}\n\n`;
const open = { access: "link", is_default: true, links_until: null };
const closed = { access: "private", is_default: false, links_until: null };
const link = { url: "http://calm-cove-1.localhost:1/?limpet_ticket=l.x", until: "2030-01-08T12:00:00Z" };

/** The agent's page with a preview that is shown, and the dialog over it. */
async function opened(answers: Answers, of = box) {
  const shown = await show("/local/agents/agt_1", {
    "GET /api/system": { body: {} },
    "GET /api/local/agents/agt_1": { body: agent },
    "GET /api/local/sandboxes": { body: { sandboxes: [of] } },
    "GET /api/local/vm-events": { body: live },
    ...answers,
  });
  await userEvent.click(await screen.findByRole("button", { name: "Share the preview" }));
  return { ...shown, dialog: within(await screen.findByRole("dialog")) };
}
const sent = (asked: { what: string; body: unknown }[], what: string) =>
  asked.filter((one) => one.what === what).map(({ body }) => body);
const frame = () => screen.getByTitle<HTMLIFrameElement>("Live preview");

test("an open preview is shared by its address, and it says who sees it", async () => {
  const { dialog } = await opened({ [`GET ${AT}`]: { body: open } });
  await dialog.findByText(/^Anyone with the address sees it now/);
  expect(dialog.getByRole<HTMLInputElement>("radio", { name: /^Anyone with the address/ }).checked).toBe(true);
  expect(dialog.getByRole("button", { name: "Copy: http://calm-cove-1.localhost:1/" })).toBeTruthy();
  expect(dialog.queryByRole("button", { name: "Make a link" })).toBeNull();
});

test("it is made private, then a link is made for some days, and sharing is stopped", async () => {
  let sharing: object = open;
  const { asked, dialog } = await opened({
    [`GET ${AT}`]: () => ({ body: sharing }),
    [`PATCH ${AT}`]: () => ({ body: (sharing = closed) }),
    [`POST ${AT}/links`]: () => {
      sharing = { ...closed, links_until: link.until };
      return { body: link };
    },
    [`DELETE ${AT}/links`]: () => ({ body: (sharing = closed) }),
  });
  await dialog.findByText(/^Anyone with the address sees it now/);
  await userEvent.click(dialog.getByRole("radio", { name: /^Private/ }));
  await dialog.findByText("Only people signed in to this Limpet see it now.");
  expect(sent(asked, `PATCH ${AT}`)).toEqual([{ access: "private" }]);
  expect(dialog.queryByRole("button", { name: /^Copy/ })).toBeNull();
  expect(dialog.queryByRole("button", { name: "Stop sharing" })).toBeNull();

  await userEvent.selectOptions(dialog.getByRole("combobox", { name: "A link for" }), "30 days");
  await userEvent.click(dialog.getByRole("button", { name: "Make a link" }));
  await dialog.findByRole("button", { name: `Copy: ${link.url}` });
  expect(sent(asked, `POST ${AT}/links`)).toEqual([{ days: 30, at: "http://calm-cove-1.localhost:1/" }]);
  await dialog.findByText(/and anyone with a link. The last link ends on/);

  await userEvent.click(dialog.getByRole("button", { name: "Stop sharing" }));
  await dialog.findByText("Only people signed in to this Limpet see it now.");
  await waitFor(() => expect(dialog.queryByRole("button", { name: /^Copy/ })).toBeNull());
  expect(sent(asked, `DELETE ${AT}/links`)).toHaveLength(1);
});

test("what cannot be changed says why, and the choice is as it was", async () => {
  const error = { code: "not_found", message: "There is no such sandbox", hint: "" };
  const { dialog } = await opened({
    [`GET ${AT}`]: { body: open },
    [`PATCH ${AT}`]: { status: 404, body: { error } },
  });
  await dialog.findByText(/^Anyone with the address sees it now/);
  await userEvent.click(dialog.getByRole("radio", { name: /^Private/ }));
  expect((await dialog.findByRole("alert")).textContent).toContain("There is no such sandbox");
  expect(dialog.getByRole<HTMLInputElement>("radio", { name: /^Anyone with the address/ }).checked).toBe(true);
});

const way = (address: string) => `/open-preview?${new URLSearchParams({ to: address })}`;
const own = { ...box, preview_access: "private" as const };

test("a private preview is shown, and opened in a tab, by way of the app", async () => {
  await opened({ [`GET ${AT}`]: { body: closed } }, own);
  const root = "http://calm-cove-1.localhost:1/";
  expect(frame().getAttribute("src")).toBe(way(root));
  const apart = screen.getByRole("link", { name: "Open the preview in a tab of its own", hidden: true });
  expect(apart.getAttribute("href")).toBe(way(root));
});

/** What a page in the frame says to the page around it. */
function says(data: object, origin = "http://calm-cove-1.localhost:1") {
  const source = frame().contentWindow;
  window.dispatchEvent(new MessageEvent("message", { data, origin, source }));
}

test("a frame that may not be seen any more is let in again, once, where it was", async () => {
  await opened({ [`GET ${AT}`]: { body: open } });
  const at = "http://calm-cove-1.localhost:1/about?x=1";
  says({ type: "limpet:private", url: "http://evil.example/" });
  says({ type: "limpet:private", url: "http://calm-cove-2.localhost:1/" });
  expect(frame().getAttribute("src")).toBe("http://calm-cove-1.localhost:1/");
  says({ type: "limpet:private", url: at });
  await waitFor(() => expect(frame().getAttribute("src")).toBe(way(at)));
  const again = frame();
  says({ type: "limpet:private", url: at });
  await screen.findByText(/this browser denies that to pages inside others/);
  expect(frame()).toBe(again);
});
