import * as Tabs from "@radix-ui/react-tabs";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import type { SandboxView } from "../agent/useSandbox.ts";
import type { Place } from "../api/queries.ts";
import type { Agent, Sandbox } from "../api/types.ts";
import { NeedsSandbox } from "../inside/NeedsSandbox.tsx";
import { Icon } from "../ui/Icon.tsx";
import { forgetBuffer, moveBuffers, useUnsaved } from "./buffers.ts";
import { ClosingDialog } from "./ClosingDialog.tsx";
import type { Goto } from "./Editor.tsx";
import { EditorPane } from "./EditorPane.tsx";
import { FilesPanel } from "./FilesPanel.tsx";
import { NoFile } from "./NoFile.tsx";
import { OpenFiles } from "./OpenFiles.tsx";
import { withClosed, withMoved, withOpened } from "./openFiles.ts";
import { isWithin } from "./paths.ts";
import { QuickOpen } from "./QuickOpen.tsx";
import { SearchPanel } from "./SearchPanel.tsx";
import { useKeptList } from "./useKeptList.ts";
import { useShortcuts } from "./useShortcuts.ts";

const route = getRouteApi("/$org/agents/$agentId");
const tab =
  "rounded-full px-3 py-1 text-sm text-muted hover:text-ink focus-visible:rounded-full data-[state=active]:bg-sunken data-[state=active]:text-ink";

/** The files of a sandbox: a tree, a search, and an editor. */
export function CodePane({ agent, view }: { agent: Agent; view: SandboxView }) {
  const { box } = view;
  const unsaved = useUnsaved(box?.handle ?? "");
  return (
    <NeedsSandbox
      view={view}
      purpose="Its files can be looked at and changed here while it runs."
      meanwhile={
        unsaved.length > 0 && (
          <p className="mt-3 text-shell">Unsaved changes are kept in this tab: {unsaved.join(", ")}</p>
        )
      }
    >
      {(handle) => box && <Files key={handle} handle={handle} agent={agent} box={box} />}
    </NeedsSandbox>
  );
}

function Files({ handle, agent, box }: { handle: string; agent: Agent; box: Sandbox }) {
  const place: Place = { agentId: agent.id, branch: agent.default_branch };
  const { file: shown } = route.useSearch();
  const navigate = route.useNavigate();
  const [kept, setKept] = useKeptList(`files-${handle}`);
  const files = shown ? withOpened(kept, shown) : kept;
  const unsaved = useUnsaved(handle);
  const [side, setSide] = useState<"files" | "search">("files");
  const [goto, setGoto] = useState<Goto | null>(null);
  const [quick, setQuick] = useState(false);
  const [closing, setClosing] = useState<string | null>(null);
  // Where there is no room for both, one of the two is shown.
  const [front, setFront] = useState<"side" | "editor">(shown ? "editor" : "side");

  function show(path: string | undefined, line?: number) {
    void navigate({ search: (now) => ({ ...now, file: path }), replace: true });
    if (!path) return setFront("side");
    setKept(withOpened(files, path));
    setFront("editor");
    setGoto(line === undefined ? null : { path, line, time: Date.now() });
  }

  function drop(path: string) {
    for (const file of files) if (isWithin(file, path)) forgetBuffer(handle, file);
    const next = withClosed(files, path, shown);
    setKept(next.files);
    if (next.shown !== shown) show(next.shown);
  }

  function close(path: string) {
    if (unsaved.includes(path)) setClosing(path);
    else drop(path);
  }

  function moved(from: string, to: string) {
    moveBuffers(handle, from, to);
    const next = withMoved(files, from, to);
    setKept(next);
    const at = shown === undefined ? -1 : files.indexOf(shown);
    if (shown !== undefined && isWithin(shown, from)) {
      void navigate({ search: (now) => ({ ...now, file: next[at] }), replace: true });
    }
  }

  useShortcuts(
    () => setQuick(true),
    () => {
      setSide("search");
      setFront("side");
    },
  );

  return (
    <div className="@container flex h-full min-h-0">
      <Tabs.Root
        value={side}
        onValueChange={(chosen) => setSide(chosen as "files" | "search")}
        className={`${front === "side" ? "flex" : "hidden @xl:flex"} w-full min-w-0 flex-col border-line @xl:w-52 @xl:shrink-0 @xl:border-r @3xl:w-64 @4xl:w-72`}
      >
        <div className="flex items-center gap-1 border-b border-line px-2 py-1">
          <Tabs.List aria-label="Find files" className="flex flex-1 gap-0.5">
            <Tabs.Trigger value="files" className={tab}>
              Files
            </Tabs.Trigger>
            <Tabs.Trigger value="search" className={tab} title="Alt+Shift+F">
              Search
            </Tabs.Trigger>
          </Tabs.List>
          <button
            type="button"
            onClick={() => setQuick(true)}
            title="Open a file by its name (Alt+P)"
            className="rounded-full px-3 py-1 text-sm text-muted hover:bg-sunken hover:text-ink"
          >
            Open…
          </button>
          {files.length > 0 && (
            <button
              type="button"
              aria-label="Back to the editor"
              onClick={() => setFront("editor")}
              className="grid size-8 place-items-center rounded-full text-muted hover:bg-sunken @xl:hidden"
            >
              <Icon name="close" className="size-4" />
            </button>
          )}
        </div>
        <Tabs.Content value="files" className="min-h-0 flex-1 outline-none" tabIndex={-1}>
          <FilesPanel
            handle={handle}
            place={place}
            box={box}
            shown={shown}
            onShow={show}
            onMoved={moved}
            onGone={drop}
          />
        </Tabs.Content>
        <Tabs.Content value="search" className="min-h-0 flex-1 outline-none" tabIndex={-1}>
          <SearchPanel handle={handle} onShow={show} />
        </Tabs.Content>
      </Tabs.Root>
      <div className={`${front === "editor" ? "flex" : "hidden @xl:flex"} min-w-0 flex-1 flex-col`}>
        <div className="flex items-center border-b border-line">
          <button
            type="button"
            aria-label="Files and search"
            onClick={() => setFront("side")}
            className="ml-1 grid size-9 shrink-0 place-items-center rounded-full text-muted hover:bg-sunken @xl:hidden"
          >
            <Icon name="back" className="size-4.5" />
          </button>
          {files.length > 0 ? (
            <OpenFiles files={files} shown={shown} unsaved={unsaved} onShow={show} onClose={close} />
          ) : (
            <p className="px-4 py-2 text-sm text-muted">No file is open</p>
          )}
        </div>
        <div className="min-h-0 flex-1">
          {shown ? (
            <EditorPane
              key={shown}
              handle={handle}
              place={place}
              box={box}
              path={shown}
              goto={goto}
              onClose={() => drop(shown)}
            />
          ) : (
            <NoFile />
          )}
        </div>
      </div>
      {quick && <QuickOpen handle={handle} onClose={() => setQuick(false)} onShow={show} />}
      {closing && (
        <ClosingDialog
          handle={handle}
          path={closing}
          onClose={() => setClosing(null)}
          onDone={() => drop(closing)}
        />
      )}
    </div>
  );
}
