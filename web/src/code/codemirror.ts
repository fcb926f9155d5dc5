/** The editor's parts and looks; loaded only when a file is opened. */
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab, isolateHistory } from "@codemirror/commands";
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { unifiedMergeView } from "@codemirror/merge";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension, Text } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { difference, lineEnd } from "./meeting.ts";

const language = new Compartment();
const comparing = new Compartment();
const lineEnds = new Compartment();

/** Colours are the page's, so light and dark need no telling. */
const colours = HighlightStyle.define([
  { tag: [tags.comment, tags.meta], color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier, tags.tagName], color: "var(--sea)" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "var(--good)" },
  { tag: [tags.number, tags.bool, tags.null, tags.atom, tags.unit, tags.color], color: "var(--shell)" },
  { tag: [tags.typeName, tags.className, tags.attributeName, tags.namespace], color: "var(--shell)" },
  { tag: [tags.heading, tags.strong], fontWeight: "600" },
  { tag: tags.heading, color: "var(--sea)" },
  { tag: tags.emphasis, fontStyle: "italic" },
  { tag: [tags.link, tags.url], color: "var(--sea)", textDecoration: "underline" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

const looks = EditorView.theme({
  "&": { height: "100%", backgroundColor: "transparent", color: "var(--ink)", fontSize: "0.8125rem" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--font-mono)", lineHeight: "1.6" },
  ".cm-content": { caretColor: "var(--ink)", padding: "0.5rem 0" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": {
    backgroundColor: "color-mix(in srgb, var(--sunken) 55%, transparent)",
  },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "color-mix(in srgb, var(--sea) 24%, transparent) !important",
  },
  ".cm-selectionMatch, .cm-matchingBracket": {
    backgroundColor: "color-mix(in srgb, var(--pearl) 30%, transparent) !important",
  },
  ".cm-searchMatch": { backgroundColor: "color-mix(in srgb, var(--pearl) 40%, transparent)" },
  ".cm-searchMatch-selected": { outline: "1px solid var(--shell)" },
  ".cm-panels": { backgroundColor: "var(--shore)", color: "var(--ink)", border: "none" },
  ".cm-panels-bottom": { borderTop: "1px solid var(--line)" },
  ".cm-panel.cm-search": { padding: "0.5rem 0.75rem", fontFamily: "var(--font-sans)" },
  ".cm-panel.cm-search label": { fontSize: "0.8125rem" },
  ".cm-textfield": {
    backgroundColor: "var(--raised)",
    border: "1px solid var(--line)",
    borderRadius: "0.5rem",
    padding: "0.25rem 0.5rem",
    fontSize: "0.8125rem",
  },
  ".cm-button": {
    backgroundImage: "none",
    backgroundColor: "var(--raised)",
    border: "1px solid var(--line)",
    borderRadius: "999px",
    padding: "0.25rem 0.75rem",
    fontSize: "0.8125rem",
  },
  ".cm-panel.cm-search [name=close]": { color: "var(--ink)", fontSize: "1.25rem" },
  ".cm-deletedChunk": { backgroundColor: "color-mix(in srgb, var(--bad) 10%, transparent)" },
  ".cm-changedLine": { backgroundColor: "color-mix(in srgb, var(--good) 12%, transparent) !important" },
  "&.cm-merge-b .cm-changedText": {
    background: "color-mix(in srgb, var(--good) 26%, transparent)",
    borderRadius: "2px",
  },
  ".cm-deletedChunk .cm-deletedText": {
    background: "color-mix(in srgb, var(--bad) 22%, transparent)",
    borderRadius: "2px",
  },
  ".cm-changeGutter": { width: "3px", paddingLeft: "0" },
  "&.cm-merge-b .cm-changedLineGutter": { backgroundColor: "var(--good)" },
  "&.cm-merge-b .cm-deletedLineGutter": { backgroundColor: "var(--bad)" },
  ".cm-deletedChunk .cm-chunkButtons": { insetInlineEnd: "0.75rem" },
  ".cm-changedText *, .cm-deletedText, .cm-deletedText *": { color: "var(--ink) !important" },
  ".cm-deletedChunk .cm-chunkButtons .cm-putBack": {
    border: "1px solid var(--line)",
    borderRadius: "999px",
    background: "var(--raised)",
    color: "var(--ink)",
    padding: "0 0.6rem",
    minHeight: "24px",
    font: "500 0.75rem var(--font-sans)",
  },
});

/** A state for the editor that shows `text`, called `name` by screen readers. */
export function newState(text: string, name: string): EditorState {
  return EditorState.create({
    doc: Text.of(text.split(lineEnd(text))),
    extensions: [
      lineEnds.of(EditorState.lineSeparator.of(lineEnd(text))),
      lineNumbers(),
      highlightActiveLineGutter(),
      highlightActiveLine(),
      highlightSpecialChars(),
      highlightSelectionMatches(),
      history(),
      drawSelection(),
      indentOnInput(),
      indentUnit.of("  "),
      bracketMatching(),
      closeBrackets(),
      search({ top: false }),
      syntaxHighlighting(colours),
      looks,
      EditorView.contentAttributes.of({ "aria-label": name, tabindex: "0" }),
      keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, indentWithTab]),
      language.of([]),
      comparing.of([]),
    ],
  });
}

export const speak = (found: Extension) => language.reconfigure(found);

/** Shows the editor's text beside `original`: what was removed stands above what came. */
export const compareWith = (original: string | null) =>
  comparing.reconfigure(
    original === null
      ? []
      : unifiedMergeView({
          original: Text.of(original.split(lineEnd(original))),
          mergeControls: (kind, act) => (kind === "reject" ? putBack(act) : document.createElement("span")),
          collapseUnchanged: { margin: 4, minSize: 8 },
        }),
  );

function putBack(act: (event: MouseEvent) => void): HTMLElement {
  const button = document.createElement("button");
  button.className = "cm-putBack";
  button.textContent = "Put back";
  button.onclick = act;
  return button;
}

/** Makes the editor show `text`, which is on disk now, leaves the cursor where it was, and can be undone. */
export function follow(view: EditorView, text: string) {
  const end = lineEnd(text);
  const before = view.state.doc.toString();
  const after = end === "\r\n" ? text.replaceAll("\r\n", "\n") : text;
  if (end !== view.state.lineBreak) {
    view.dispatch({ effects: lineEnds.reconfigure(EditorState.lineSeparator.of(end)) });
  }
  if (before === after) return;
  const { from, to, insert } = difference(before, after);
  view.dispatch({
    changes: { from, to, insert: Text.of(insert.split("\n")) },
    annotations: isolateHistory.of("full"),
  });
}

export { EditorView } from "@codemirror/view";
