import type { Listed } from "../api/insideTypes.ts";
import { agent, box } from "./agent.ts";
import type { Answers, Asked } from "./app.tsx";

/** A file on the sandbox's disk that can be read, and written by who knows its etag. */
export function disk(files: Record<string, string>) {
  const versions = new Map(Object.entries(files).map(([path, text]) => [path, { text, version: 1 }]));
  const pathOf = ({ query }: Asked) => new URLSearchParams(query).get("path") ?? "";
  const etagOf = (path: string) => {
    const found = versions.get(path);
    return found && `"${found.version}"`;
  };
  const binary = { "Content-Type": "application/octet-stream" };
  const answers: Answers = {
    [`GET ${DAEMON}/download`]: (_, asked) => {
      const path = pathOf(asked);
      const etag = etagOf(path);
      if (!etag) return { status: 400, body: { error: `File not found: ${path}` } };
      if (asked.headers["if-none-match"] === etag) return { status: 304, body: "", headers: binary };
      return { body: versions.get(path)?.text, headers: { ...binary, ETag: etag } };
    },
    [`PUT ${DAEMON}/upload`]: (body, asked) => {
      const path = pathOf(asked);
      const etag = etagOf(path);
      const wanted = asked.headers["if-match"];
      const fits = asked.headers["if-none-match"] === "*" ? !etag : wanted === etag;
      if (!fits) return { status: 412, body: { error: "the file is not what If-Match says", etag } };
      write(path, String(body ?? ""));
      return { body: { ok: true, size: 1, etag: etagOf(path) } };
    },
  };
  function write(path: string, text: string) {
    versions.set(path, { text, version: (versions.get(path)?.version ?? 0) + 1 });
  }
  return { answers, write, read: (path: string) => versions.get(path)?.text };
}

export const DAEMON = `/api/local/sandboxes/${box.handle}/daemon`;
export const EVENTS = "GET /api/local/vm-events";

/** A page whose sandbox runs. */
export const running: Answers = {
  "GET /api/system": { body: {} },
  "GET /api/local/agents/agt_1": { body: agent },
  "GET /api/local/sandboxes": { body: { sandboxes: [box] } },
};

export const listed = (...names: string[]): Listed => ({
  entries: names.map((name) => ({
    name: name.replace(/\/$/, ""),
    kind: name.endsWith("/") ? "folder" : "file",
    size: 1,
    mtimeMs: 0,
    executable: false,
  })),
  total: names.length,
  truncated: false,
});
