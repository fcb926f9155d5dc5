import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { lazy, Suspense, useRef, useState } from "react";
import type { SandboxView } from "../agent/useSandbox.ts";
import { daemonUrl, terminalsQuery, useCloseTerminal, useOpenTerminal } from "../api/inside.ts";
import type { Terminal } from "../api/insideTypes.ts";
import { NeedsSandbox } from "../inside/NeedsSandbox.tsx";
import { Button } from "../ui/Button.tsx";
import { Asking } from "../ui/Confirm.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import type { Connection } from "./connection.ts";
import { KeyRow } from "./KeyRow.tsx";
import type { ScreenHandle } from "./Screen.tsx";
import { TerminalTabs } from "./TerminalTabs.tsx";
import { nameOf, stateWords } from "./words.ts";

const Screen = lazy(async () => ({ default: (await import("./Screen.tsx")).Screen }));
const route = getRouteApi("/$org/agents/$agentId");
const SIZE = { cols: 100, rows: 30 };

/** Shells in the sandbox. They go on when the page is closed, and are here when it comes back. */
export function TerminalPane({ view }: { view: SandboxView }) {
  return (
    <NeedsSandbox view={view} purpose="A terminal is a shell in the sandbox; there is one while it runs.">
      {(handle) => <Terminals key={handle} handle={handle} />}
    </NeedsSandbox>
  );
}

function Terminals({ handle }: { handle: string }) {
  const client = useQueryClient();
  const terminals = useQuery(terminalsQuery(handle));
  const { terminal: wanted } = route.useSearch();
  const navigate = route.useNavigate();
  const open = useOpenTerminal(handle);
  const close = useCloseTerminal(handle);
  const [asked, setAsked] = useState<Terminal | null>(null);
  const tabs = useRef<HTMLElement>(null);
  const all = terminals.data ?? [];
  const shown = all.find(({ id }) => id === wanted) ?? all.findLast(({ status }) => status === "running") ?? all.at(-1);

  const show = (id: string) =>
    void navigate({ search: (now) => ({ ...now, terminal: id }), replace: true });

  async function askToClose({ id }: Terminal) {
    // Whether something runs in it is no event: it is looked up at the moment that it matters.
    const now = await client.fetchQuery({ ...terminalsQuery(handle), staleTime: 0 });
    const terminal = now.find((one) => one.id === id);
    if (!terminal) return;
    if (terminal.busy) setAsked(terminal);
    else close.mutate(terminal);
  }

  // What is known of them holds while nobody answers: what is shown connects again by itself.
  if (terminals.error && !terminals.data) {
    return (
      <div className="space-y-4 p-6">
        <ErrorText error={terminals.error} />
        <Button onClick={() => void terminals.refetch()}>Try again</Button>
      </div>
    );
  }
  if (!terminals.data) return <p className="p-6 text-muted">Looking for terminals…</p>;
  const begin = () => open.mutate(SIZE, { onSuccess: ({ id }) => show(id) });
  return (
    <div className="@container flex h-full min-h-0 flex-col">
      <TerminalTabs
        ref={tabs}
        terminals={all}
        shown={shown?.id}
        opening={open.isPending}
        onShow={show}
        onClose={(terminal) => void askToClose(terminal)}
        onOpen={begin}
      />
      {(open.error ?? close.error) && (
        <div className="bg-bad-wash px-4 py-2 text-sm">
          <ErrorText error={open.error ?? close.error} />
        </div>
      )}
      {shown ? (
        <Shown
          key={shown.id}
          handle={handle}
          terminal={shown}
          name={nameOf(shown, all.indexOf(shown))}
          onLeave={() => tabs.current?.querySelector<HTMLElement>('[aria-current="page"]')?.focus()}
        />
      ) : (
        <Nothing opening={open.isPending} onOpen={begin} />
      )}
      <Asking
        open={asked !== null}
        onClose={() => setAsked(null)}
        title="Close this terminal?"
        explanation="Something runs in it. It ends, with everything that it started."
        action="End it and close"
        dangerous
        onConfirm={() => asked && close.mutate(asked)}
      />
    </div>
  );
}

type ShownProps = { handle: string; terminal: Terminal; name: string; onLeave: () => void };

function Shown({ handle, terminal, name, onLeave }: ShownProps) {
  const client = useQueryClient();
  const [state, setState] = useState<Connection>({ kind: "connecting" });
  const [ctrl, setCtrl] = useState(false);
  const screen = useRef<ScreenHandle | null>(null);
  const url = `${location.origin.replace(/^http/, "ws")}${daemonUrl(handle, `pty/${terminal.id}`)}`;

  async function isThere() {
    const now = await client.fetchQuery({ ...terminalsQuery(handle), staleTime: 0 });
    return now.some(({ id }) => id === terminal.id);
  }

  const words = stateWords(state);
  return (
    <section aria-label={name} className="flex min-h-0 flex-1 flex-col">
      <output
        className={`block px-4 text-sm ${words ? "py-1.5" : ""} ${
          state.kind === "lost" || state.kind === "gone" ? "bg-shell-wash text-shell" : "bg-sunken text-ink"
        }`}
      >
        {words}
      </output>
      <div className="min-h-0 flex-1 p-2 pl-3">
        <Suspense fallback={<p className="p-4 text-muted">Loading the terminal…</p>}>
          <Screen
            url={url}
            name={name}
            isThere={isThere}
            ctrl={ctrl}
            onCtrlUsed={() => setCtrl(false)}
            onState={setState}
            onHandle={(made) => {
              screen.current = made;
              if (made && matchMedia("(pointer: fine)").matches) made.focus();
            }}
            onLeave={onLeave}
          />
        </Suspense>
      </div>
      <p className="hidden px-4 pb-1.5 text-xs text-muted pointer-fine:block">
        Shift+F6 leaves the terminal by keyboard.
      </p>
      <KeyRow ctrl={ctrl} onCtrl={() => setCtrl(!ctrl)} onKey={(key) => screen.current?.press(key)} />
    </section>
  );
}

function Nothing({ opening, onOpen }: { opening: boolean; onOpen: () => void }) {
  return (
    <div className="grid min-h-0 flex-1 place-items-center overflow-auto p-6">
      <div className="max-w-md text-center">
        <Icon name="terminal" className="mx-auto size-10 text-muted" />
        <h2 className="mt-4 font-display text-xl font-semibold">No terminal is open</h2>
        <p className="mt-2 leading-relaxed text-pretty text-muted">
          A terminal is a shell in the sandbox. What runs in it goes on when you close this page, and is here
          again when you come back.
        </p>
        <Button look="main" className="mt-6" disabled={opening} onClick={onOpen}>
          <Icon name="plus" className="size-4" /> {opening ? "Opening…" : "Open a terminal"}
        </Button>
      </div>
    </div>
  );
}
