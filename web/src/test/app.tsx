import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createMemoryHistory } from "@tanstack/react-router";
import { cleanup, render, waitFor } from "@testing-library/react";
import { afterEach, vi } from "vitest";
import { App } from "../App.tsx";
import { makeRouter } from "../router.tsx";
import { EventSocketOverRoutes } from "./eventSocket.ts";

/** With `headers` a text is sent as it is, else JSON. */
type Answer = { status?: number; body: unknown; headers?: Record<string, string> };
/** What was asked of the server; a body that is no JSON is text. */
export type Asked = { what: string; query: string; body: unknown; headers: IncomingHttpHeaders };
/** `"POST /api/local/vm/start"` and what is answered to it; a function sees the request's body. */
export type Answers = Record<string, Answer | ((body: unknown, asked: Asked) => Answer | Promise<Answer>)>;

const open: Server[] = [];
afterEach(() => {
  cleanup();
  localStorage.clear();
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** Shows the app at `path`, on a real server on loopback that gives these answers; `wide`: with
room for two things side by side. */
export async function show(path: string, answers: Answers, { wide = false } = {}) {
  const asked: Asked[] = [];
  const streams: { what: string; stream: ServerResponse }[] = [];
  const server = createServer((request, answer) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", async () => {
      const { pathname, search } = new URL(request.url ?? "/", "http://x");
      const what = `${request.method} ${pathname}`;
      const text = Buffer.concat(pieces).toString();
      const { headers } = request;
      const isJson = headers["content-type"] === "application/json";
      const body: unknown = text && isJson ? JSON.parse(text) : text || undefined;
      const one: Asked = { what, query: search, body, headers };
      asked.push(one);
      const given = answers[what];
      if (/\/(vm-)?events$/.test(what) && !isRefusal(given)) {
        answer.writeHead(200, { "Content-Type": "text/event-stream" });
        answer.write(typeof given === "object" ? String(given.body) : ": nothing yet\n\n");
        streams.push({ what, stream: answer });
        return;
      }
      const missing = { error: { code: "not_found", message: `nothing at ${what}`, hint: "" } };
      const found = (typeof given === "function" ? await given(body, one) : given) ?? { status: 404, body: missing };
      answer.writeHead(found.status ?? 200, { "Content-Type": "application/json", ...found.headers });
      answer.end(found.headers && typeof found.body === "string" ? found.body : JSON.stringify(found.body));
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  open.push(server);
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const real = globalThis.fetch;
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => real(new URL(url, base), init));
  vi.stubGlobal("WebSocket", EventSocketOverRoutes);
  vi.stubGlobal("matchMedia", (query: string) => ({
    matches: wide && query.includes("min-width"),
    addEventListener() {},
    removeEventListener() {},
  }));
  vi.stubGlobal("scrollTo", () => {});
  // jsdom lays nothing out, so there is nothing to scroll.
  Element.prototype.scrollIntoView ??= () => {};
  const router = makeRouter(createMemoryHistory({ initialEntries: [path] }));
  render(<App router={router} />);
  /** Sends more on the streams that are open at `what`, once there is one. */
  const tell = async (what: string, text: string) => {
    await waitFor(() => {
      if (!streams.some((one) => one.what === what)) throw new Error(`nobody follows ${what}`);
    });
    for (const one of streams) if (one.what === what) one.stream.write(text);
  };
  return { asked, router, tell, streams };
}

const isRefusal = (given: Answers[string] | undefined) =>
  typeof given === "object" && (given.status ?? 200) >= 400;
