import { Suspense } from "react";
import type { Agent } from "../api/types.ts";
import { later } from "../ui/later.tsx";

// The preview is not to wait for it: the chat's code comes after the page's.
const ChatPanel = later(() => import("./ChatPanel.tsx").then((it) => it.ChatPanel));

export type ChatProps = {
  agent: Agent;
  home: string;
  /** A text that is to stand in the box where messages are written, until it was taken there. */
  wanted: string | null;
  onTaken: () => void;
};

/** The conversations with an agent; `home` is the branch that is its own. */
export function Chat(props: ChatProps) {
  return (
    <Suspense fallback={<p className="grid h-full place-items-center text-muted">Opening the chat…</p>}>
      <ChatPanel {...props} />
    </Suspense>
  );
}
