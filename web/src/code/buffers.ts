/** Files that are open in the editor, with what was changed in them and not saved yet.

An edit lives in its editor's state alone, here, so that it outlives the pane that shows it. */
import type { EditorState } from "@codemirror/state";
import { useSyncExternalStore } from "react";
import type { Base } from "./meeting.ts";
import { afterMove, isWithin } from "./paths.ts";

type Buffer = { base: Base; state: EditorState };

const buffers = new Map<string, Buffer>();
const listeners = new Set<() => void>();

const keyOf = (handle: string, path: string) => `${handle} ${path}`;

function tell() {
  for (const listener of listeners) listener();
}

export const bufferOf = (handle: string, path: string) => buffers.get(keyOf(handle, path));

export function keepBuffer(handle: string, path: string, buffer: Buffer) {
  buffers.set(keyOf(handle, path), buffer);
  tell();
}

export function forgetBuffer(handle: string, path: string) {
  if (buffers.delete(keyOf(handle, path))) tell();
}

/** A file or folder was moved: what is open of it goes along. */
export function moveBuffers(handle: string, from: string, to: string) {
  for (const [key, buffer] of buffers) {
    const path = key.slice(handle.length + 1);
    if (!key.startsWith(`${handle} `) || !isWithin(path, from)) continue;
    buffers.delete(key);
    buffers.set(keyOf(handle, afterMove(path, from, to)), buffer);
  }
  tell();
}

/** Whether something was changed and not saved. Lengths differ almost always, so it is quick. */
export function isUnsaved({ base, state }: Buffer): boolean {
  const breaks = state.doc.lines - 1;
  const length = state.doc.length + breaks * (state.lineBreak.length - 1);
  return length !== base.text.length || state.sliceDoc() !== base.text;
}

/** The buffer as if nothing had been edited in it, so that what is on disk is followed. */
export const asUnedited = ({ base, state }: Buffer): Buffer => ({
  base: { ...base, text: state.sliceDoc() },
  state,
});

const unsavedIn = (handle: string) =>
  [...buffers]
    .filter(([key, buffer]) => key.startsWith(`${handle} `) && isUnsaved(buffer))
    .map(([key]) => key.slice(handle.length + 1));

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useBuffer = (handle: string, path: string) =>
  useSyncExternalStore(subscribe, () => bufferOf(handle, path));

/** The paths of a sandbox that have unsaved changes. */
export function useUnsaved(handle: string): string[] {
  const joined = useSyncExternalStore(subscribe, () => unsavedIn(handle).join("\0"));
  return joined === "" ? [] : joined.split("\0");
}

/** Leaving the page asks while something is not saved. */
globalThis.addEventListener?.("beforeunload", (event) => {
  if ([...buffers.values()].some(isUnsaved)) event.preventDefault();
});
