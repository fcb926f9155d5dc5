import { useState } from "react";
import { useDiscard } from "../api/inside.ts";
import type { ChangedFile, GitStatus } from "../api/insideTypes.ts";
import type { Place } from "../api/queries.ts";
import type { Sandbox } from "../api/types.ts";
import { LossDialog } from "../inside/LossDialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { ChangeRow } from "./ChangeRow.tsx";
import { CommitForm } from "./CommitForm.tsx";
import { grouped, pathsOf } from "./grouping.ts";
import { discardWords, kindWords } from "./words.ts";

type Props = { handle: string; place: Place; box: Sandbox; status: GitStatus };

/** More rows than this help nobody. */
const MAX_ROWS = 500;

/** What differs from the last commit: look at it, choose, commit or discard. */
export function WorkingTree({ handle, place, box, status }: Props) {
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const [going, setGoing] = useState<ChangedFile[]>([]);
  const discard = useDiscard(handle);
  const { files } = status;
  const chosen = files.filter(({ path }) => !left.has(path));

  function choose(paths: string[], wanted: boolean) {
    const next = new Set(left);
    for (const path of paths) {
      if (wanted) next.delete(path);
      else next.add(path);
    }
    setLeft(next);
  }

  if (files.length === 0) {
    return (
      <section aria-label="Changes" className="rounded-2xl border border-dashed border-line p-6 text-center">
        <h3 className="font-display text-lg font-semibold">Nothing changed since the last commit</h3>
        <p className="mx-auto mt-1 max-w-prose leading-relaxed text-pretty text-muted">
          What you or the agent change shows here by itself. Commits are git's and go with the branch; snapshots,
          in History, keep the whole workspace with or without a commit.
        </p>
      </section>
    );
  }
  return (
    <section aria-label="Changes" className="space-y-4">
      <CommitForm
        handle={handle}
        chosen={chosen}
        all={files.length}
        onCommitted={() => setLeft(new Set())}
      />
      <div className="flex items-center gap-2.5 pl-1 text-sm">
        <label className="flex items-center gap-2.5">
          <input
            type="checkbox"
            checked={chosen.length === files.length}
            ref={(box_) => {
              if (box_) box_.indeterminate = chosen.length > 0 && chosen.length < files.length;
            }}
            onChange={(event) => choose(files.map(({ path }) => path), event.target.checked)}
            className="size-4 accent-sea"
          />
          {chosen.length === files.length
            ? `All ${files.length === 1 ? "of it: 1 file" : `${files.length} files`}`
            : `${chosen.length} of ${files.length} files`}
        </label>
        <button
          type="button"
          disabled={chosen.length === 0 || discard.isPending}
          onClick={() => setGoing(chosen)}
          className="ml-auto rounded-full px-3 py-1 text-muted hover:bg-sunken hover:text-bad disabled:opacity-50"
        >
          {discard.isPending ? "Discarding…" : "Discard these…"}
        </button>
      </div>
      <ErrorText error={discard.error} />
      {grouped(files.slice(0, MAX_ROWS)).map((group) => (
        <div key={group.kind}>
          <h3 className="mb-1 pl-1 text-sm font-medium text-muted">
            {kindWords[group.kind]} <span className="font-normal">{group.files.length}</span>
          </h3>
          <ul className="divide-y divide-line overflow-hidden rounded-2xl border border-line">
            {group.files.map((file) => (
              <ChangeRow
                key={file.path}
                handle={handle}
                file={file}
                kind={group.kind}
                chosen={!left.has(file.path)}
                onChoose={(wanted) => choose([file.path], wanted)}
                onDiscard={() => setGoing([file])}
              />
            ))}
          </ul>
        </div>
      ))}
      {files.length > MAX_ROWS && (
        <p className="text-sm text-muted">
          And {files.length - MAX_ROWS} more. A folder that git should not know goes into .gitignore.
        </p>
      )}
      {going.length > 0 && (
        <LossDialog
          title={going.length === 1 ? `Discard ${going[0]?.path}?` : `Discard ${going.length} files?`}
          what={discardWords(going)}
          action="Discard"
          place={place}
          box={box}
          onClose={() => setGoing([])}
          onConfirm={() => discard.mutate(pathsOf(going))}
        />
      )}
    </section>
  );
}
