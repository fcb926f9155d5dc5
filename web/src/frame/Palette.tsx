import * as Dialog from "@radix-ui/react-dialog";
import { type KeyboardEvent, useId, useState } from "react";
import { Icon } from "../ui/Icon.tsx";
import { found } from "./commands.ts";
import { useCommands } from "./useCommands.ts";

/** Finds what can be gone to or done, by typing: arrows move, Enter runs, Escape closes. */
export function Palette({ onClose, onDone }: { onClose: () => void; onDone: (words: string) => void }) {
  const commands = useCommands(onDone);
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const shown = found(commands, typed);
  const current = shown[Math.min(at, shown.length - 1)];
  const groups = [...new Set(shown.map(({ group }) => group))];

  function pressed(event: KeyboardEvent) {
    if (event.nativeEvent.isComposing) return;
    const last = shown.length - 1;
    const now = Math.min(at, last);
    if (event.key === "ArrowDown") move(now >= last ? 0 : now + 1);
    else if (event.key === "ArrowUp") move(now <= 0 ? last : now - 1);
    else if (event.key === "Home" && typed === "") move(0);
    else if (event.key === "End" && typed === "") move(last);
    else if (event.key === "Enter" && current) run(current.run);
    else return;
    event.preventDefault();
  }

  function move(to: number) {
    setAt(Math.max(0, to));
    const id = shown[to]?.id;
    if (id) document.getElementById(`${list}-${id}`)?.scrollIntoView({ block: "nearest" });
  }

  function run(what: () => void) {
    onClose();
    what();
  }

  return (
    <Dialog.Root open onOpenChange={(open) => !open && onClose()}>
      <Dialog.Portal>
        <Dialog.Overlay className="fixed inset-0 z-40 bg-[#081112]/55" />
        <Dialog.Content
          aria-describedby={undefined}
          className="fixed inset-x-3 top-[10dvh] z-50 mx-auto flex max-h-[min(32rem,78dvh)] max-w-xl flex-col overflow-hidden rounded-3xl border border-line bg-raised shadow-2xl outline-none"
        >
          <Dialog.Title className="sr-only">Find or do something</Dialog.Title>
          <label className="flex items-center gap-3 border-b border-line px-5 text-muted">
            <Icon name="search" className="size-5" />
            <input
              // oxlint-disable-next-line jsx-a11y/no-autofocus -- the palette was asked for to type in it
              autoFocus
              role="combobox"
              aria-label="Find or do something"
              aria-expanded
              aria-controls={list}
              aria-autocomplete="list"
              aria-activedescendant={current && `${list}-${current.id}`}
              placeholder="Agents, branches, conversations, views, actions"
              value={typed}
              onChange={(event) => {
                setTyped(event.target.value);
                setAt(0);
              }}
              onKeyDown={pressed}
              spellCheck={false}
              autoComplete="off"
              className="h-14 min-w-0 flex-1 bg-transparent text-ink outline-none placeholder:text-muted"
            />
          </label>
          {/* oxlint-disable-next-line jsx-a11y/prefer-tag-over-role -- a select cannot be searched */}
          <div id={list} role="listbox" aria-label="Found" className="min-h-0 flex-1 overflow-auto p-2">
            {groups.map((group) => (
              // oxlint-disable-next-line jsx-a11y/prefer-tag-over-role -- options are grouped by role in a listbox
              <div key={group} role="group" aria-label={group}>
                <p aria-hidden="true" className="px-3 pt-2.5 pb-1 text-xs font-medium text-muted">
                  {group}
                </p>
                {shown
                  .filter((command) => command.group === group)
                  .map((command) => (
                    <div
                      // oxlint-disable jsx-a11y/prefer-tag-over-role -- as above
                      key={command.id}
                      id={`${list}-${command.id}`}
                      role="option"
                      // oxlint-enable jsx-a11y/prefer-tag-over-role
                      tabIndex={-1}
                      aria-selected={command === current}
                      onMouseMove={() => setAt(shown.indexOf(command))}
                      onClick={() => run(command.run)}
                      onKeyDown={pressed}
                      className="flex cursor-pointer items-center gap-3 rounded-xl px-3 py-2 text-sm aria-selected:bg-sea-wash aria-selected:text-sea"
                    >
                      <Icon name={command.icon} className="size-4.5" />
                      <span className="max-w-3/4 shrink-0 truncate">{command.label}</span>
                      {command.detail && (
                        <span className="ml-auto min-w-0 shrink truncate pl-3 text-xs text-muted">{command.detail}</span>
                      )}
                    </div>
                  ))}
              </div>
            ))}
          </div>
          <output className={shown.length > 0 ? "sr-only" : "block px-5 pb-5 text-sm text-muted"}>
            {shown.length > 0 ? `${shown.length} found` : "Nothing has that in its name."}
          </output>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
