/** What the page in the preview tells the frame around it. */
type PageMessage =
  | { kind: "navigated"; path: string }
  | { kind: "said"; line: string }
  | { kind: "ready" };

const MAX_LINE = 2000;

/** The message, if it is one of ours; its sender is checked by whoever calls this. */
export function pageMessage(data: unknown): PageMessage | null {
  if (typeof data !== "object" || data === null) return null;
  const told = data as Record<string, unknown>;
  const text = (name: string) => (typeof told[name] === "string" ? told[name] : "");
  switch (told.type) {
    case "limpet:ready":
      return { kind: "ready" };
    case "limpet:navigation":
      return text("path").startsWith("/") ? { kind: "navigated", path: text("path") } : null;
    case "limpet:error":
      return { kind: "said", line: `\u001b[31merror\u001b[0m ${text("text").slice(0, MAX_LINE)}` };
    case "limpet:console": {
      const colour = told.level === "error" ? 31 : 33;
      const line = `\u001b[${colour}m${text("level")}\u001b[0m ${text("text").slice(0, MAX_LINE)}`;
      return { kind: "said", line };
    }
    default:
      return null;
  }
}

/** Whether the page failed because the browser keeps nothing for pages inside others. */
export const wantsStorage = (line: string) =>
  /(local|session)Storage|indexedDB|cookie/i.test(line) && /denied|insecure|SecurityError/i.test(line);
