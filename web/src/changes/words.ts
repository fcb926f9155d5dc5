import type { ChangedFile, GitStatus } from "../api/insideTypes.ts";
import type { RemoteAct } from "../api/inside.ts";
import { type Kind, kindOf } from "./grouping.ts";

export const kindWords: Record<Kind, string> = {
  conflict: "In conflict",
  changed: "Changed",
  renamed: "Renamed",
  new: "New",
  deleted: "Deleted",
};

const commits = (count: number) => `${count} ${count === 1 ? "commit" : "commits"}`;

/** How the branch stands to its base and to the remote, in words; what is not known is not said. */
export function standing({ current, base, ahead, behind, unpushed, underWay }: GitStatus): string[] {
  const said: string[] = [];
  if (underWay) said.push(`a ${underWay} is under way`);
  if (base && base !== current) {
    if (ahead) said.push(`${commits(ahead)} ahead of ${base}`);
    if (behind) said.push(`${commits(behind)} behind ${base}`);
    if (ahead === 0 && behind === 0) said.push(`even with ${base}`);
  }
  if (unpushed) said.push(`${commits(unpushed)} not pushed`);
  return said;
}

/** What becomes of files whose changes are discarded. */
export function discardWords(files: ChangedFile[]): string {
  const fresh = files.filter((file) => kindOf(file) === "new").length;
  if (files.length === 1) {
    return fresh === 1 ? "No commit has it: it is deleted." : "It becomes as it is in the last commit.";
  }
  if (fresh === files.length) return "No commit has them: they are deleted.";
  const rest = fresh === 0 ? "" : ` ${fresh} that no commit has ${fresh === 1 ? "is" : "are"} deleted.`;
  return `They become as they are in the last commit.${rest}`;
}

export const doneWords: Record<RemoteAct, string> = {
  fetch: "The remote was asked.",
  pull: "Pulled: the branch has what the remote has.",
  push: "Pushed.",
};
