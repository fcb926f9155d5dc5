import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useEffect, useId, useState } from "react";
import { namesQuery } from "../api/inside.ts";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { best } from "./fuzzy.ts";
import { folderWords, nameOf } from "./paths.ts";

type Props = { handle: string; onClose: () => void; onShow: (path: string) => void };

const intoView = (row: HTMLElement | null) => row?.scrollIntoView?.({ block: "nearest" });

/** Opens a file by some letters of its path. */
export function QuickOpen({ handle, onClose, onShow }: Props) {
  const { data: names, error, isFetching } = useQuery(namesQuery(handle));
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  /** Enter was pressed before there was anything to open. */
  const [awaited, setAwaited] = useState(false);
  const id = useId();
  const found = best(names ?? [], typed);
  const chosen = Math.min(at, found.length - 1);
  const [first] = found;
  // What is listed is listed; where nothing fits, it may be that it is not listed yet.
  const looking = isFetching && first === undefined;

  function show(path: string | undefined) {
    if (path === undefined) return;
    onClose();
    onShow(path);
  }

  // All are listed and none fits: what is listed later opens nothing by itself.
  if (awaited && !looking && first === undefined) setAwaited(false);
  useEffect(() => {
    if (!awaited || first === undefined) return;
    onClose();
    onShow(first);
  }, [awaited, first, onClose, onShow]);

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === "Enter") {
      if (looking) setAwaited(true);
      else show(found[chosen]);
    } else if (event.key === "ArrowDown") setAt(Math.min(chosen + 1, found.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(chosen - 1, 0));
    else return;
    event.preventDefault();
  }

  return (
    <Dialog open onClose={onClose} title="Open a file" explanation="Some letters of its path will do.">
      <input
        role="combobox"
        aria-expanded
        aria-controls={id}
        aria-activedescendant={found.length > 0 ? `${id}-${chosen}` : undefined}
        aria-autocomplete="list"
        aria-label="File"
        autoComplete="off"
        spellCheck={false}
        value={typed}
        onChange={(event) => {
          setTyped(event.target.value);
          setAt(0);
          setAwaited(false);
        }}
        onKeyDown={onKeyDown}
        className="h-11 w-full rounded-xl border border-line bg-shore px-3.5 font-mono text-sm"
      />
      {/* oxlint-disable-next-line jsx-a11y/prefer-tag-over-role -- a select has no such field */}
      <div role="listbox" id={id} aria-label="Files that fit" className="mt-2 h-72 overflow-auto">
        {found.map((path, index) => (
          // Keys are the field's: the list is never in focus.
          // oxlint-disable-next-line jsx-a11y/click-events-have-key-events
          <div
            key={path}
            ref={index === chosen ? intoView : undefined}
            // oxlint-disable-next-line jsx-a11y/prefer-tag-over-role -- as the list
            role="option"
            id={`${id}-${index}`}
            tabIndex={-1}
            aria-selected={index === chosen}
            onClick={() => show(path)}
            className={`flex cursor-pointer items-baseline gap-2 rounded-lg px-3 py-1.5 text-sm ${
              index === chosen ? "bg-sea-wash text-sea" : "hover:bg-sunken"
            }`}
          >
            <span className="shrink-0">{nameOf(path)}</span>
            <span className={`truncate text-xs ${index === chosen ? "" : "text-muted"}`}>{folderWords(path)}</span>
          </div>
        ))}
      </div>
      <output className="mt-1 block text-sm text-muted">
        {looking
          ? `Listing the files…${awaited ? " The one that fits best is opened then." : ""}`
          : names && found.length === 0 && "No file fits."}
      </output>
      <ErrorText error={error} />
    </Dialog>
  );
}
