import type { Ref } from "react";
import type { Terminal } from "../api/insideTypes.ts";
import { Icon } from "../ui/Icon.tsx";
import { endedWord, nameOf } from "./words.ts";

type Props = {
  ref: Ref<HTMLElement>;
  terminals: Terminal[];
  shown: string | undefined;
  opening: boolean;
  onShow: (id: string) => void;
  onClose: (terminal: Terminal) => void;
  onOpen: () => void;
};

/** The terminals of a sandbox, one of them shown. */
export function TerminalTabs({ ref, terminals, shown, opening, onShow, onClose, onOpen }: Props) {
  return (
    <nav ref={ref} aria-label="Terminals" className="flex items-center border-b border-line">
      <ul className="flex min-w-0 gap-0.5 overflow-x-auto px-1.5 py-1">
        {terminals.map((terminal, index) => {
          const name = nameOf(terminal, index);
          const ended = endedWord(terminal);
          return (
            <li
              key={terminal.id}
              className={`flex shrink-0 items-center rounded-lg text-sm ${
                terminal.id === shown ? "bg-sea-wash text-sea" : "text-muted hover:bg-sunken hover:text-ink"
              }`}
            >
              <button
                type="button"
                aria-current={terminal.id === shown ? "page" : undefined}
                onClick={() => onShow(terminal.id)}
                className="h-8 max-w-48 truncate rounded-lg pr-1 pl-3 focus-visible:-outline-offset-2"
              >
                {name}
                {ended && <span className="ml-1.5 font-mono text-xs">{ended}</span>}
              </button>
              <button
                type="button"
                aria-label={`Close ${name}`}
                title="Close"
                onClick={() => onClose(terminal)}
                className="grid size-7 place-items-center rounded-lg focus-visible:-outline-offset-2"
              >
                <Icon name="close" className="size-3.5" />
              </button>
            </li>
          );
        })}
      </ul>
      <button
        type="button"
        aria-label="New terminal"
        title="New terminal"
        disabled={opening}
        onClick={onOpen}
        className="grid size-9 shrink-0 place-items-center rounded-full text-muted hover:bg-sunken hover:text-ink"
      >
        <Icon name="plus" className="size-4.5" />
      </button>
    </nav>
  );
}
