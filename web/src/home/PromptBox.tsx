import { type FormEvent, type KeyboardEvent, useId } from "react";
import { useDraft } from "../chat/useDraft.ts";
import { buttonLook } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";

type Props = { busy: boolean; what: string; onSend: (text: string, taken: () => void) => void };

/** Says what shall be built: Enter makes an agent for it and gives it that as its first task. */
export function PromptBox({ busy, what, onSend }: Props) {
  const [text, setText] = useDraft("home");
  const hint = useId();
  const empty = text.trim() === "";

  function send() {
    if (!empty && !busy) onSend(text.trim(), () => setText(""));
  }

  function pressed(event: KeyboardEvent<HTMLTextAreaElement>) {
    if (event.nativeEvent.isComposing || event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    send();
  }

  return (
    <form
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        send();
      }}
      className="rounded-3xl border border-line bg-raised shadow-sm focus-within:border-sea"
    >
      <textarea
        value={text}
        rows={3}
        maxLength={200_000}
        aria-label="What shall we build?"
        aria-describedby={hint}
        placeholder="A booking page for a surf school, with a calendar and prices…"
        onChange={(event) => setText(event.target.value)}
        onKeyDown={pressed}
        className="field-sizing-content block max-h-60 min-h-24 w-full resize-none bg-transparent px-5 pt-4 pb-1 text-base leading-relaxed outline-none placeholder:text-muted"
      />
      <div className="flex items-center gap-3 px-3 pb-3">
        <p id={hint} className="min-w-0 flex-1 truncate pl-2 text-sm text-muted">
          {busy ? "Making it…" : `Enter makes a ${what} of it`}
        </p>
        <button
          type="submit"
          disabled={empty || busy}
          aria-label="Build it"
          title="Build it (Enter)"
          className={buttonLook("main", "icon")}
        >
          <Icon name="send" className="size-4.5" />
        </button>
      </div>
    </form>
  );
}
