import { useEffect, useRef } from "react";
import type { FileOnDisk, TextOnDisk } from "../api/insideTypes.ts";
import { bufferOf, keepBuffer } from "./buffers.ts";
import { compareWith, EditorView, follow, newState, speak } from "./codemirror.ts";
import { languageOf } from "./languages.ts";
import type { Meeting } from "./meeting.ts";

export type Goto = { path: string; line: number; time: number };

type Props = {
  handle: string;
  path: string;
  disk: FileOnDisk;
  met: Meeting;
  /** What the text is shown beside; null: nothing. */
  original: string | null;
  goto: Goto | null;
};

/** One file in CodeMirror. What is typed lives in the buffers; what is on disk is followed. */
export function Editor({ handle, path, disk, met, original, goto }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);

  useEffect(() => {
    if (!place.current) return;
    const { text, etag } = disk as TextOnDisk;
    const buffer = bufferOf(handle, path) ?? { base: { text, etag }, state: newState(text, path) };
    keepBuffer(handle, path, buffer);
    const made = new EditorView({
      parent: place.current,
      state: buffer.state,
      dispatchTransactions(transactions, itself) {
        itself.update(transactions);
        const now = bufferOf(handle, path);
        if (now) keepBuffer(handle, path, { ...now, state: itself.state });
      },
    });
    view.current = made;
    void languageOf(path).then((language) => {
      if (language && view.current === made) made.dispatch({ effects: speak(language) });
    });
    return () => {
      view.current = null;
      made.destroy();
    };
    // The text of the disk is where a buffer begins; later ones are followed below.
    // oxlint-disable-next-line react-hooks/exhaustive-deps
  }, [handle, path]);

  useEffect(() => {
    if (!view.current || disk.kind !== "text") return;
    if (met !== "follow" && met !== "touched") return;
    if (met === "follow") follow(view.current, disk.text);
    keepBuffer(handle, path, { base: disk, state: view.current.state });
  }, [handle, path, disk, met]);

  useEffect(() => {
    view.current?.dispatch({ effects: compareWith(original) });
  }, [handle, path, original]);

  useEffect(() => {
    const { current: made } = view;
    if (!made || goto?.path !== path) return;
    const line = made.state.doc.line(Math.min(Math.max(1, goto.line), made.state.doc.lines));
    made.dispatch({
      selection: { anchor: line.from, head: line.to },
      effects: EditorView.scrollIntoView(line.from, { y: "center" }),
    });
    made.focus();
  }, [handle, path, goto]);

  return <div ref={place} className="h-full min-h-0" />;
}
