import type { Terminal } from "../api/insideTypes.ts";
import type { Connection } from "./connection.ts";

type Ended = { exitCode: number | null; status: string; reason: string | null };

function endWords({ exitCode, status, reason }: Ended): string {
  if (reason) return `Ended because ${reason}.`;
  if (status === "failed") return "It could not be started.";
  if (status === "killed") return "It was ended.";
  return `Ended with exit code ${exitCode ?? "unknown"}.`;
}

/** What there is to say of a terminal's connection; nothing while all is well. */
export function stateWords(state: Connection): string {
  switch (state.kind) {
    case "connecting":
      return "Connecting…";
    case "open":
      return state.pty ? "" : "No real terminal could be had here: programs that draw do not work.";
    case "lost":
      return "The connection is lost; what runs goes on. Trying again…";
    case "gone":
      return "This terminal is not there any more: the sandbox was started anew.";
    case "ended":
      return endWords(state);
  }
}

/** What a terminal is called among the others. */
export const nameOf = ({ command }: Terminal, index: number) =>
  `${command === "shell" ? "Shell" : command} ${index + 1}`;

/** How an ended one ended, in a word or two for its tab. */
export const endedWord = ({ status, exitCode }: Terminal) =>
  status === "running" ? "" : status === "exited" ? `exit ${exitCode}` : status;
