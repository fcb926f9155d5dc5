/** What the page in the preview tells the frame around it. */
type PageMessage =
  | { kind: "navigated"; path: string }
  | { kind: "said"; line: string; isError: boolean; text: string }
  | { kind: "ready" }
  /** It is none of the app's: the browser may not see the preview at `url`. */
  | { kind: "private"; url: string }
  /** It goes: what it said is of a page that is no more. */
  | { kind: "left" };

const MAX_LINE = 2000;

/** The message, if it is one of ours; its sender is checked by whoever calls this. */
export function pageMessage(data: unknown): PageMessage | null {
  if (typeof data !== "object" || data === null) return null;
  const told = data as Record<string, unknown>;
  const text = (name: string) => (typeof told[name] === "string" ? told[name] : "");
  switch (told.type) {
    case "limpet:ready":
      return { kind: "ready" };
    case "limpet:private":
      return { kind: "private", url: text("url") };
    case "limpet:unload":
      return { kind: "left" };
    case "limpet:navigation":
      return text("path").startsWith("/") ? { kind: "navigated", path: text("path") } : null;
    case "limpet:error":
      return said("error", text("text").slice(0, MAX_LINE));
    case "limpet:console":
      return said(text("level"), text("text").slice(0, MAX_LINE));
    default:
      return null;
  }
}

function said(level: string, text: string): PageMessage {
  const isError = level === "error";
  return { kind: "said", line: `\u001b[${isError ? 31 : 33}m${level}\u001b[0m ${text}`, isError, text };
}

const MOST_ASKED = 5;
const LONGEST_ASKED = 600;

/** What an agent is asked where the page logs errors: the newest ones, each once. */
export function askToMend(errors: string[]): string {
  const shown = [...new Set(errors)].slice(-MOST_ASKED).map((one) => one.slice(0, LONGEST_ASKED));
  const fence = "`".repeat(Math.max(3, ...[...shown.join("\n").matchAll(/`+/g)].map(([marks]) => marks.length + 1)));
  return `The page in the preview logs errors:\n\n${fence}\n${shown.join("\n")}\n${fence}\n\nFind out why, and mend it.`;
}

/** Whether the page failed because the browser keeps nothing for pages inside others. */
export const wantsStorage = (line: string) =>
  /(local|session)Storage|indexedDB|cookie/i.test(line) && /denied|insecure|SecurityError/i.test(line);
