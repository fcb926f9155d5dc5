import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Agent } from "../api/types.ts";
import { Mark } from "../ui/Mark.tsx";
import { addToPageLog } from "../api/useLive.ts";
import { tellConsole } from "../api/queries.ts";
import { ConsoleReport } from "./consoleReport.ts";
import { isOfPreview, wayTo } from "./addresses.ts";
import { PageErrors } from "./PageErrors.tsx";
import { PreviewBar, type Width, WIDTHS } from "./PreviewBar.tsx";
import { pageMessage, wantsStorage } from "./pageMessages.ts";

type Props = {
  agent: Agent;
  /** The sandbox's. */
  handle: string;
  url: string;
  /** Only who was let in sees it. */
  isPrivate: boolean;
  /** How many dev servers came up: each one loads the page anew. */
  reloads: number;
  dropped: boolean;
  logsOpen: boolean;
  onLogs: () => void;
  /** Puts a text into the box where the agent is spoken to. */
  onAsk: (text: string) => void;
};

const MOST_ERRORS = 50;
/** Refused anew so soon after it was let in, the browser keeps no cookie there. */
const LET_IN_MS = 10_000;

/** The live page. It stays where it is while its server is away for a moment. */
export function PreviewFrame(props: Props) {
  const { agent, handle, url, isPrivate, reloads, dropped, logsOpen, onLogs, onAsk } = props;
  const client = useQueryClient();
  const frame = useRef<HTMLIFrameElement>(null);
  const [width, setWidth] = useState<Width>("desktop");
  const [asked, setAsked] = useState({ to: "/", times: 0, letIn: false });
  const [path, setPath] = useState("/");
  const [denied, setDenied] = useState(false);
  const letInAt = useRef(0);
  const shownAs = `${asked.times}-${reloads}-${isPrivate}-${url}`;
  const [loaded, setLoaded] = useState("");
  const [errors, setErrors] = useState<string[]>([]);
  const report = useMemo(() => new ConsoleReport((body) => tellConsole(handle, body)), [handle]);
  const attach = useCallback(
    (element: HTMLIFrameElement | null) => {
      frame.current = element;
      if (!element) return;
      report.loaded();
      setErrors([]);
    },
    [report],
  );

  useEffect(() => {
    const from = new URL(url).origin;
    /** The page is not to be seen (any more): the app lets the frame in again, once. */
    function refused(at: string) {
      if (!isOfPreview(at, url, handle)) return;
      const now = Date.now();
      if (now - letInAt.current < LET_IN_MS) {
        setDenied(true);
        return;
      }
      letInAt.current = now;
      setAsked(({ times }) => ({ to: at, times: times + 1, letIn: true }));
    }
    function heard(event: MessageEvent) {
      if (event.source !== frame.current?.contentWindow) return;
      const message = pageMessage(event.data);
      if (message?.kind === "private") refused(message.url);
      if (event.origin !== from) return;
      if (message?.kind === "navigated") setPath(message.path);
      if (message?.kind === "ready") setDenied(false);
      if (message?.kind === "left") {
        report.loaded();
        setErrors([]);
      }
      if (message?.kind === "said") {
        addToPageLog(client, agent.id, agent.default_branch, message.line);
        if (message.isError) {
          report.heard(message.text);
          setErrors((now) => [...now, message.text].slice(-MOST_ERRORS));
        }
        if (wantsStorage(message.line)) setDenied(true);
      }
    }
    window.addEventListener("message", heard);
    return () => {
      window.removeEventListener("message", heard);
      report.close();
    };
  }, [url, handle, report, client, agent.id, agent.default_branch]);

  const go = (to: string) => {
    setPath(to);
    setAsked(({ times }) => ({ to, times: times + 1, letIn: false }));
  };
  return (
    <div className="flex h-full min-h-0 flex-col">
      <PreviewBar
        handle={handle}
        url={url}
        isPrivate={isPrivate}
        path={path}
        width={width}
        logsOpen={logsOpen}
        onWidth={setWidth}
        onReload={() => go(path)}
        onGo={go}
        onLogs={onLogs}
      />
      {dropped && (
        <output className="block bg-shell-wash px-4 py-1.5 text-sm text-shell">
          The dev server is away; it is started again.
        </output>
      )}
      {denied && (
        <output className="block bg-shell-wash px-4 py-1.5 text-sm text-shell">
          The page wants to keep something, and this browser denies that to pages inside others.{" "}
          <a href={wayTo(new URL(path, url).href, isPrivate)} target="_blank" rel="noreferrer" className="underline underline-offset-2">
            Open it in a tab of its own
          </a>
          .
        </output>
      )}
      <div
        className={`relative min-h-0 flex-1 overflow-hidden bg-sunken ${width === "desktop" ? "" : "p-4"}`}
      >
        {loaded !== shownAs && (
          <div className="not-for-long pointer-events-none absolute inset-0 grid place-content-center justify-items-center gap-3 bg-raised">
            <Mark className="tide size-12" />
            <p className="text-sm text-muted">The page loads…</p>
          </div>
        )}
        <iframe
          ref={attach}
          key={shownAs}
          onLoad={() => setLoaded(shownAs)}
          src={wayTo(new URL(asked.to, url).href, isPrivate || asked.letIn)}
          title="Live preview"
          style={{ width: WIDTHS[width] }}
          className={`mx-auto block h-full max-w-full bg-white ${
            width === "desktop" ? "" : "rounded-xl border border-line shadow-lg"
          }`}
          allow="clipboard-read; clipboard-write; fullscreen"
        />
      </div>
      <PageErrors errors={errors} onAsk={onAsk} onClose={() => setErrors([])} />
    </div>
  );
}
