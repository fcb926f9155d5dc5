import type { IconName } from "../ui/Icon.tsx";
import type { ToolCall } from "./conversation.ts";

type Sort = "command" | "change" | "look" | "other";

const sorts: [RegExp, Sort, IconName][] = [
  [/bash|shell|command|exec|task/i, "command", "terminal"],
  [/write|edit|patch|replace/i, "change", "edit"],
  [/grep|glob|search|find/i, "look", "search"],
  [/read|list|ls$/i, "look", "file"],
  [/git/i, "command", "branch"],
  [/preview|page|screenshot/i, "look", "window"],
  [/save|snapshot|roll/i, "other", "tag"],
];

/** What sort of tool it is, by its name: each harness has its own names. */
export function toolSort({ name, result }: ToolCall): { sort: Sort; icon: IconName } {
  if (result?.diff) return { sort: "change", icon: "edit" };
  const found = sorts.find(([pattern]) => pattern.test(name));
  return found ? { sort: found[1], icon: found[2] } : { sort: "other", icon: "spark" };
}
