import type { IconName } from "../ui/Icon.tsx";

/** One thing that the palette finds. */
export type Command = {
  id: string;
  group: string;
  label: string;
  /** Said beside the label, and found as well. */
  detail?: string;
  icon: IconName;
  run: () => void;
};

const MOST = 60;

/** How well a command fits: 0 for a label that begins so, more for a lesser fit; null for none. */
function fit({ label, detail = "" }: Command, words: string[]): number | null {
  const name = label.toLowerCase();
  const all = `${name} ${detail.toLowerCase()}`;
  if (!words.every((word) => all.includes(word))) return null;
  const [first = ""] = words;
  if (name.startsWith(first)) return 0;
  if (name.split(/[\s/·-]+/).some((part) => part.startsWith(first))) return 1;
  return name.includes(first) ? 2 : 3;
}

/** The commands that have all of the words, the best of each group first; groups stay in order. */
export function found(commands: Command[], typed: string): Command[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return commands.slice(0, MOST);
  const fitting = commands.flatMap((command) => {
    const how = fit(command, words);
    return how === null ? [] : [{ command, how }];
  });
  const groups = [...new Set(fitting.map(({ command }) => command.group))];
  return groups
    .flatMap((group) =>
      fitting.filter(({ command }) => command.group === group).toSorted((one, other) => one.how - other.how),
    )
    .map(({ command }) => command)
    .slice(0, MOST);
}
