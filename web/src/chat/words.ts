import type { RunUsage } from "../api/threadTypes.ts";

const short = (count: number) =>
  count < 1000 ? String(count) : count < 999_500 ? `${(count / 1000).toFixed(1)}k` : `${(count / 1e6).toFixed(1)}M`;

/** "$0.03"; less than a cent in tenths of it. */
const cost = (dollars: number) =>
  dollars > 0 && dollars < 0.0095 ? `$${dollars.toFixed(4)}` : `$${dollars.toFixed(2)}`;

/** "12.3k tokens · $0.03". */
export function usageWords({ input_tokens, output_tokens, cost_usd }: RunUsage): string {
  const tokens = `${short(input_tokens + output_tokens)} tokens`;
  return cost_usd === null ? tokens : `${tokens} · ${cost(cost_usd)}`;
}

/** The same in full, for whoever wants to know. */
export function usageDetail(usage: RunUsage): string {
  const cached = usage.cache_read_tokens > 0 ? `, ${usage.cache_read_tokens} of them cached` : "";
  const price = usage.cost_usd === null ? "; the price of this model is not known" : "";
  // An agent of one's own does not tell how often it asked its model.
  const requests = usage.requests > 0 ? `${usage.requests} requests, ` : "";
  return `${requests}${usage.input_tokens} tokens in${cached}, ${usage.output_tokens} out${price}`;
}

/** "4 s", "2 min 5 s". */
export function lasted(from: string, to: string): string {
  const seconds = Math.max(0, Math.round((Date.parse(to) - Date.parse(from)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** What is thrown at a screen reader is what a person would read: the text without its marks. */
export const spoken = (markdown: string) =>
  markdown
    .replace(/```[\s\S]*?(```|$)/g, " (code) ")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^[ \t]*(?:>|#{1,6}[ \t]|\|?[-:| ]{3,}$)/gm, " ")
    .replace(/[*_`|]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();

/** How a thread is called; its first message gives it a title. */
export const titleOf = ({ title }: { title: string }) => title || "New conversation";
