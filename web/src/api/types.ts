/** What the API answers; the server's OpenAPI page describes each field. */
export type Problem = { code: string; message: string; hint: string };

export type Receipt = {
  entries: number;
  files: number;
  bytes: number;
  size_bytes: number;
  duration_ms: number;
  complete: boolean;
  incomplete_because: string[];
  skipped: Remark[];
  torn: Remark[];
  healed: Remark[];
  /** What the users' own ignore files leave out, a folder as one. */
  ignored: Remark[];
  dropped: Record<string, number>;
  counts: Record<string, number>;
  blake3: string;
  live: boolean;
};

export type Remark = { path: string; reason: string };

export type Snapshot = {
  id: string;
  agent_id: string;
  branch: string;
  lineage: string;
  created_at: string;
  reason: string;
  name: string | null;
  receipt: Receipt | null;
  size_bytes: number;
  is_head: boolean;
  side_reason: string | null;
  /** The newest of a side lineage, whose content the main one never had. */
  adoptable: boolean;
  made_from: { agent_id: string; branch: string; snapshot_id: string } | null;
  condemned_at: string | null;
  condemned_because: "retention" | "deleted" | "unnamed" | null;
  deleted_after: string | null;
};

export type Forked = { agent: Agent; branch: string; is_new_agent: boolean; head: Snapshot };

export type Agent = {
  id: string;
  title: string;
  description: string;
  pinned: boolean;
  metadata: {
    clone_url: string | null;
    template: string | null;
    start_command: string | null;
    acp_command: string | null;
    ui: { layout: { default_main_view: string; chat_side: "left" | "right" | "none" } };
  };
  default_branch: string;
  created_at: string;
};

type RestoreOutcome = {
  outcome: string;
  snapshot: string | null;
  receipt: Receipt | null;
  message: string;
};

export type Sandbox = {
  handle: string;
  agent_id: string;
  branch: string;
  state: "stopped" | "starting" | "running" | "stopping" | "failed";
  phase: string | null;
  preview_url: string | null;
  loopback_preview_url: string | null;
  detached: boolean;
  detached_reason: string | null;
  unsaved: boolean | null;
  saving: boolean;
  last_save: Snapshot | null;
  last_save_error: Problem | null;
  side_snapshots: Snapshot[];
  restore: RestoreOutcome | null;
  last_error: Problem | null;
  started_at: string | null;
};

export type Started = { previewUrl: string | null; vmId: string; branch: string };

/** A variable that tasks have; its value is never shown. No agent: it is for all of the org. */
export type Secret = { name: string; agent_id: string | null; updated_at: string; updated_by: string };

export type SecretChanged = { secret: Secret | null; given_to: string[]; not_reached: string[]; note: string };

export type System = {
  version: string;
  org: string;
  user: string;
  isolation: { kind: string; reason: string };
  store: { kind: string; where: string };
  /** What threads can choose. */
  harnesses: string[];
};

export type Template = { name: string; title: string; description: string };
