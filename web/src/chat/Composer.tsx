import { type KeyboardEvent, type ReactNode, type Ref, useId } from "react";
import { buttonLook } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import { StopButton } from "./StopButton.tsx";

type Props = {
  box: Ref<HTMLTextAreaElement>;
  text: string;
  onText: (text: string) => void;
  onSend: () => void;
  /** A run goes on: what is sent waits for its end. */
  running: boolean;
  queued: number;
  onStop: (keepQueued: boolean) => void;
  stopping: boolean;
  /** What was said last, for ArrowUp in an empty box. */
  lastSaid: string | undefined;
  /** Leave the box, towards the conversation. */
  onLeave: () => void;
  /** The choices of a harness and of a model. */
  children: ReactNode;
};

/** Where messages are written: Enter sends, Shift+Enter makes a line, Escape leaves the box, and
ArrowUp in an empty one brings back what was said last. */
export function Composer({ box, children, ...props }: Props) {
  const { text, running, queued } = props;
  const hint = useId();
  const empty = text.trim() === "";

  function pressed(event: KeyboardEvent<HTMLTextAreaElement>) {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (!empty) props.onSend();
    } else if (event.key === "Escape") {
      props.onLeave();
    } else if (event.key === "ArrowUp" && text === "" && props.lastSaid !== undefined) {
      event.preventDefault();
      props.onText(props.lastSaid);
    }
  }

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!empty) props.onSend();
      }}
      className="rounded-2xl border border-line bg-raised shadow-sm focus-within:border-sea"
    >
      <textarea
        ref={box}
        value={text}
        rows={2}
        maxLength={200_000}
        aria-label="Message"
        aria-describedby={hint}
        placeholder={running ? "Say what comes next…" : "What should change?"}
        onChange={(event) => props.onText(event.target.value)}
        onKeyDown={pressed}
        className="field-sizing-content block max-h-60 w-full resize-none bg-transparent px-4 pt-3 pb-1 leading-relaxed outline-none placeholder:text-muted"
      />
      <p id={hint} className="sr-only">
        Enter sends, Shift and Enter make a new line, Escape leaves the box, arrow up in an empty box
        brings back the last message.
      </p>
      <div className="flex items-center gap-1 px-2 pb-2">
        <div className="flex min-w-0 flex-1">{children}</div>
        {running && <StopButton queued={queued} stopping={props.stopping} onStop={props.onStop} />}
        <button
          type="submit"
          disabled={empty}
          aria-label={running ? "Send; it waits for its turn" : "Send"}
          title={running ? "Send; it waits for its turn" : "Send (Enter)"}
          className={buttonLook("main", "icon")}
        >
          <Icon name="send" className="size-4.5" />
        </button>
      </div>
    </form>
  );
}
