import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { grepQuery, type Sought } from "../api/inside.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { byFile, type Hits, literal, marked } from "./grep.ts";
import { folderWords, nameOf } from "./paths.ts";

type Props = { handle: string; onShow: (path: string, line: number) => void };

const nothing: Sought = { pattern: "", ignoreCase: true, glob: "" };
const small = "h-9 w-full rounded-xl border border-line bg-shore px-3 text-sm";

/** Search over all files of the repository, by what they hold. */
export function SearchPanel({ handle, onShow }: Props) {
  const [sought, setSought] = useState(nothing);
  const found = useQuery(grepQuery(handle, sought));

  function seek(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "");
    const next: Sought = {
      pattern: form.has("regex") ? text("text") : literal(text("text")),
      ignoreCase: !form.has("case"),
      glob: text("glob").trim(),
    };
    if (JSON.stringify(next) === JSON.stringify(sought)) void found.refetch();
    setSought(next);
  }

  return (
    <div className="flex h-full min-h-0 flex-col">
      <form onSubmit={seek} className="space-y-2 p-3">
        <div className="flex gap-1.5">
          <input
            name="text"
            type="search"
            aria-label="Search in all files"
            placeholder="Search in all files"
            autoComplete="off"
            spellCheck={false}
            className={small}
          />
          <Button type="submit" size="icon" aria-label="Search" title="Search">
            <Icon name="search" className="size-4" />
          </Button>
        </div>
        <input
          name="glob"
          aria-label="Only in files such as"
          placeholder="Only in files such as **/*.css"
          autoComplete="off"
          spellCheck={false}
          className={small}
        />
        <div className="flex flex-wrap gap-x-4 text-sm">
          <Tick name="case">Same case</Tick>
          <Tick name="regex">Regular expression</Tick>
        </div>
      </form>
      <div className="min-h-0 flex-1 overflow-auto px-3 pb-3 text-sm">
        {found.error && <ErrorText error={found.error} />}
        {sought.pattern === "" ? (
          <p className="leading-relaxed text-pretty text-muted">
            Looks into every file that git does not ignore. Results open at their line.
          </p>
        ) : (
          !found.error && (
            <Results found={found.data} sought={sought} busy={found.isFetching} onShow={onShow}>
              {found.isStale && (
                <p className="mb-2 flex flex-wrap items-center gap-x-2 text-shell">
                  Files changed since.
                  <Button look="quiet" size="small" onClick={() => void found.refetch()}>
                    Search again
                  </Button>
                </p>
              )}
            </Results>
          )
        )}
      </div>
    </div>
  );
}

function Tick({ name, children }: { name: string; children: string }) {
  return (
    <label className="flex items-center gap-1.5 py-0.5">
      <input type="checkbox" name={name} className="size-4 accent-sea" /> {children}
    </label>
  );
}

type ResultsProps = {
  found: { results: string; matchCount: number } | undefined;
  sought: Sought;
  busy: boolean;
  onShow: Props["onShow"];
  children: ReactNode;
};

function Results({ found, sought, busy, onShow, children }: ResultsProps) {
  if (!found) return <output className="text-muted">Searching…</output>;
  const files = byFile(found.results);
  const lines = files.reduce((sum, { hits }) => sum + hits.length, 0);
  const more = found.matchCount > lines ? ` The first ${lines} are shown.` : "";
  return (
    <>
      <output className="mb-2 block text-muted">
        {busy
          ? "Searching…"
          : files.length === 0
            ? "Nothing was found."
            : `${found.matchCount} ${found.matchCount === 1 ? "line" : "lines"} in ${files.length} ${files.length === 1 ? "file" : "files"}.${more}`}
      </output>
      {!busy && children}
      <ul className="space-y-3">
        {files.map((file) => (
          <FileHits key={file.path} file={file} sought={sought} onShow={onShow} />
        ))}
      </ul>
    </>
  );
}

function FileHits({ file, sought, onShow }: { file: Hits; sought: Sought; onShow: Props["onShow"] }) {
  return (
    <li>
      <p className="flex items-baseline gap-2 font-medium">
        <span className="truncate">{nameOf(file.path)}</span>
        <span className="truncate text-xs font-normal text-muted">{folderWords(file.path)}</span>
      </p>
      <ul>
        {file.hits.map(({ line, text }) => (
          <li key={line}>
            <button
              type="button"
              onClick={() => onShow(file.path, line)}
              className="flex min-h-6 w-full items-center gap-2 rounded-lg px-1.5 py-0.5 text-left font-mono text-xs hover:bg-sunken focus-visible:-outline-offset-2 pointer-coarse:py-2"
            >
              <span className="shrink-0 text-muted">{line}</span>
              <span className="min-w-0 truncate">
                {marked(text.trimStart(), sought.pattern, sought.ignoreCase).map((part, index) =>
                  index % 2 === 1 ? (
                    // oxlint-disable-next-line react/no-array-index-key -- a line's parts do not change
                    <mark key={index} className="rounded-sm bg-pearl/40 text-ink">
                      {part}
                    </mark>
                  ) : (
                    part
                  ),
                )}
              </span>
            </button>
          </li>
        ))}
      </ul>
    </li>
  );
}
