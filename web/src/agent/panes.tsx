import type { ComponentType } from "react";
import type { Agent } from "../api/types.ts";
import { LogsPane } from "../logs/LogsPane.tsx";
import { PreviewPane } from "../preview/PreviewPane.tsx";
import { later } from "../ui/later.tsx";
import type { View } from "./views.ts";
import type { SandboxView } from "./useSandbox.ts";

// The preview is not to wait for what is opened later.
const CodePane = later(() => import("../code/CodePane.tsx").then((it) => it.CodePane));
const TerminalPane = later(() => import("../terminal/TerminalPane.tsx").then((it) => it.TerminalPane));
const ChangesPane = later(() => import("../changes/ChangesPane.tsx").then((it) => it.ChangesPane));
const HistoryPane = later(() => import("../history/HistoryPane.tsx").then((it) => it.HistoryPane));
const SettingsPane = later(() => import("../settings/SettingsPane.tsx").then((it) => it.SettingsPane));

export type PaneProps = {
  /** With the branch that is shown as its default one. */
  agent: Agent;
  /** The branch that is the agent's own. */
  home: string;
  view: SandboxView;
  /** Puts a text into the box where the agent is spoken to. */
  onAsk: (text: string) => void;
  /** Shows another view. */
  onShow: (view: View) => void;
};

/** What each view shows; the chat has a place of its own. `stays`: it is kept while another is shown. */
export const PANES: Record<Exclude<View, "chat">, { Pane: ComponentType<PaneProps>; stays?: boolean }> = {
  preview: { Pane: PreviewPane, stays: true },
  code: { Pane: CodePane },
  terminal: { Pane: TerminalPane },
  changes: { Pane: ChangesPane },
  history: { Pane: ({ agent, view }) => <HistoryPane agent={agent} running={view.box?.state === "running"} /> },
  logs: { Pane: ({ view }) => <LogsPane logs={view.live.logs} /> },
  settings: { Pane: SettingsPane },
};
