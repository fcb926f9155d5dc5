/** What the API answers about threads, their runs and the org's models; see docs/threads.md. */
import type { Problem, Snapshot } from "./types.ts";

export type ModelRef = { provider_id: string; name: string };

export type RunUsage = {
  requests: number;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  /** Null: of no model involved is the price known. */
  cost_usd: number | null;
};

export type HowItEnded = "done" | "stopped" | "capped" | "failed" | "interrupted";

export type Run = {
  id: string;
  message: string;
  prompt: string;
  status: "queued" | "running" | HowItEnded;
  harness: string;
  model: ModelRef | null;
  usage: RunUsage;
  checkpoint_before: string | null;
  checkpoint_after: string | null;
  undone: boolean;
  error: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
};

export type Harness = "decopilot" | "claude-code" | "acp";

export type Thread = {
  id: string;
  agent_id: string;
  branch: string;
  title: string;
  status: "idle" | "running" | "failed";
  harness: Harness;
  model: ModelRef | null;
  created_by: string;
  may_write: boolean;
  archived: boolean;
  last_seq: number;
  /** The one that goes on now. */
  run: Run | null;
  queued: number;
  usage: RunUsage;
  created_at: string;
  updated_at: string;
};

export type ThreadPage = { threads: Thread[]; next: string | null };

export type ThreadSent = { message: string; run: string; queued: boolean; thread: Thread };

export type ThreadUndone = {
  run: string;
  restored: { head: Snapshot; saved_first: Snapshot | null };
  thread: Thread;
};

/** One thing that happened in a thread. */
export type ThreadEvent =
  | { kind: "user_message"; id: string; text: string; author: string; queued: boolean }
  | { kind: "run_started"; run: string; message: string; harness: string; model: string }
  | { kind: "text" | "thinking"; part: string; delta: string }
  | {
      kind: "tool_started";
      call: string;
      name: string;
      input: Record<string, unknown>;
      title: string;
    }
  | { kind: "tool_output"; call: string; delta: string }
  | { kind: "tool_finished"; call: string; ok: boolean; output: string; diff: string | null }
  | ({ kind: "usage" } & RunUsage)
  | { kind: "notice"; text: string }
  | {
      kind: "checkpoint";
      run: string;
      when: "before" | "after";
      snapshot: string;
      commit: string | null;
    }
  | { kind: "run_finished"; run: string; how: HowItEnded; error: string | null };

/** An event as it is kept; `seq` grows along the thread. */
export type KeptEvent = { seq: number; run: string | null; at: string; event: ThreadEvent };

export type ProviderKind = "anthropic" | "openai" | "openai-compatible" | "google" | "bedrock";

export type ModelProvider = {
  id: string;
  kind: ProviderKind;
  name: string;
  base_url: string | null;
  has_api_key: boolean;
  models: string[];
  default_model: string | null;
  is_default: boolean;
};

export type ModelProviderTested = { ok: boolean; models: string[]; problem: Problem | null };

export type Model = {
  provider_id: string;
  provider_name: string;
  kind: ProviderKind;
  name: string;
  is_default: boolean;
};
