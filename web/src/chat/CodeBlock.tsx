import { CopyButton } from "./CopyButton.tsx";

/** Code that a model wrote, to be read and taken along. */
export function CodeBlock({ text, language }: { text: string; language: string | undefined }) {
  return (
    <figure className="group relative my-3 overflow-hidden rounded-xl border border-line bg-sunken">
      <figcaption className="flex items-center justify-between pt-1 pr-1 pl-3.5 font-mono text-xs text-muted">
        {language?.split(/\s/)[0] || "code"}
        <CopyButton text={text} what="the code" />
      </figcaption>
      <pre
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolled region is reached by keyboard
        tabIndex={0}
        className="max-h-96 overflow-auto px-3.5 pb-3 font-mono text-xs leading-relaxed focus-visible:-outline-offset-2"
      >
        {text}
      </pre>
    </figure>
  );
}
