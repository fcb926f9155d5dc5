/** Which of the answers about a sandbox are old, by what its event stream told. */
import type { Query, QueryClient } from "@tanstack/react-query";
import { insideKey } from "./inside.ts";
import { json } from "./live.ts";
import type { SseEvent } from "./sse.ts";

/** Paths whose file or folder changed (`.`: any), and whether git or the terminals did. */
type Touched = { paths: string[]; git: boolean; terminals: boolean };

export function touchedBy(events: SseEvent[]): Touched | "everything" {
  const touched: Touched = { paths: [], git: false, terminals: false };
  for (const { event, data } of events) {
    if (event === "resync" || event === "gone") return "everything";
    if (event === "file-changed") {
      const { path } = (json(data) ?? {}) as { path?: string };
      if (path) touched.paths.push(path);
    } else if (event === "branch") touched.git = true;
    else if (event === "tasks") touched.terminals = true;
  }
  return touched;
}

/** Whether the answer that this key names may be another by now. */
export function isOld(key: readonly unknown[], { paths, git, terminals }: Touched): boolean {
  const [, , kind, of] = key;
  switch (kind) {
    case "list":
      return paths.some((path) => path === "." || path === of || parentOf(path) === of);
    case "file":
      return paths.some((path) => path === "." || path === of || String(of).startsWith(`${path}/`));
    case "names":
    case "grep":
      return paths.length > 0;
    case "git":
      return git || paths.length > 0;
    case "terminals":
      return terminals;
    default:
      return false;
  }
}

const parentOf = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf("/"))) || ".";

/** How long changes are gathered: an install makes thousands. */
const GATHER_MS = 300;

/** Asks again for what changed and is shown; several changes together. */
export class Refresher {
  readonly #client: QueryClient;
  readonly #handle: () => string | undefined;
  #paths = new Set<string>();
  #git = false;
  #terminals = false;
  #all = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: QueryClient, handle: () => string | undefined) {
    this.#client = client;
    this.#handle = handle;
  }

  tell(touched: Touched | "everything") {
    if (touched === "everything") this.#all = true;
    else {
      for (const path of touched.paths) this.#paths.add(path);
      this.#git ||= touched.git;
      this.#terminals ||= touched.terminals;
    }
    if (!this.#all && !this.#git && !this.#terminals && this.#paths.size === 0) return;
    this.#timer ??= setTimeout(() => this.#refresh(), GATHER_MS);
  }

  /** Asks again for what could not be had while nobody answered. */
  retry() {
    const handle = this.#handle();
    if (!handle) return;
    const failed = ({ state }: Query) => state.status === "error";
    void this.#client.refetchQueries({ queryKey: insideKey(handle), type: "active", predicate: failed });
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #refresh() {
    const touched = { paths: [...this.#paths], git: this.#git, terminals: this.#terminals };
    const all = this.#all;
    this.#timer = undefined;
    this.#paths = new Set();
    this.#git = this.#terminals = this.#all = false;
    const handle = this.#handle();
    if (!handle) return;
    const old = ({ queryKey }: Query) => all || isOld(queryKey, touched);
    const sought = ({ queryKey }: Query) => queryKey[2] === "grep";
    const of = { queryKey: insideKey(handle) };
    void this.#client.invalidateQueries({ ...of, predicate: (query) => old(query) && !sought(query) });
    // Seeking through all files at each change would cost; it is said that they are old.
    void this.#client.invalidateQueries({ ...of, predicate: (query) => old(query) && sought(query), refetchType: "none" });
  }
}
