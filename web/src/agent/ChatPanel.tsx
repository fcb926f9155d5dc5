import type { Agent } from "../api/types.ts";
import { CopyText } from "../ui/CopyText.tsx";
import { Icon } from "../ui/Icon.tsx";

/** Where the conversation will be; it says plainly what it needs, and how to work until then. */
export function ChatPanel({ agent }: { agent: Agent }) {
  const name = agent.id.slice(0, 12);
  return (
    <div className="flex h-full flex-col justify-center overflow-auto p-6">
      <div className="mx-auto w-full max-w-80">
        <Icon name="chat" className="size-7 text-sea" />
        <h2 className="mt-3 font-display text-lg font-semibold">Chat comes with a model key</h2>
        <p className="mt-1.5 leading-relaxed text-pretty text-muted">
          Then you can say here what you want. Until then the computer is yours: the preview follows
          every change of a file.
        </p>
        <div className="mt-5 space-y-2">
          <CopyText text={`limpet exec ${name} ls`} />
          <CopyText text={`limpet logs -f ${name}`} />
          <CopyText text={`limpet snapshots ls ${name}`} />
        </div>
      </div>
    </div>
  );
}
