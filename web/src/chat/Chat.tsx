import { lazy, Suspense } from "react";
import type { Agent } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";

// The preview is not to wait for it: the chat's code comes after the page's.
const ChatPanel = lazy(() =>
  import("./ChatPanel.tsx").then(
    ({ ChatPanel: panel }) => ({ default: panel }),
    () => ({ default: NotLoaded }),
  ),
);

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

/** The server went away, or has another version by now. */
function NotLoaded() {
  return (
    <div className="grid h-full place-content-center justify-items-center gap-3 p-6 text-center">
      <p className="text-muted">The chat could not be loaded from the server.</p>
      <Button onClick={() => location.reload()}>Reload the page</Button>
    </div>
  );
}
