import type { IconName } from "../ui/Icon.tsx";

/** The views of an agent's page, in their order. Adding a pane: a line here, and one in panes.tsx. */
export const VIEWS = [
  { name: "chat", label: "Chat", icon: "chat" },
  { name: "preview", label: "Preview", icon: "window" },
  { name: "code", label: "Code", icon: "code" },
  { name: "terminal", label: "Terminal", icon: "terminal" },
  { name: "changes", label: "Changes", icon: "diff" },
  { name: "history", label: "History", icon: "clock" },
  { name: "logs", label: "Logs", icon: "logs" },
  { name: "settings", label: "Settings", icon: "gear" },
] as const satisfies readonly { name: string; label: string; icon: IconName }[];

export type View = (typeof VIEWS)[number]["name"];

/** Where the settings say which program of its own an agent has. */
export const OWN_PROGRAM = "own-program";

/** The view of that name, if there is one. */
export const viewCalled = (name: unknown): View | undefined => VIEWS.find((view) => view.name === name)?.name;
