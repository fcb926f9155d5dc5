import type { Agent, Sandbox } from "../api/types.ts";

/** An agent and its running sandbox, as the API shows them. */
export const agent: Agent = {
  id: "agt_1",
  title: "Tide table",
  description: "",
  pinned: true,
  metadata: {
    clone_url: null,
    template: "webapp",
    start_command: null,
    acp_command: null,
    ui: { layout: { default_main_view: "preview", chat_side: "right" } },
  },
  default_branch: "limpet/calm-cove",
  created_at: "2026-01-01T00:00:00Z",
};

export const box: Sandbox = {
  handle: "calm-cove-1",
  agent_id: "agt_1",
  branch: "limpet/calm-cove",
  state: "running",
  phase: "running",
  preview_url: "http://calm-cove-1.localhost:1/",
  loopback_preview_url: null,
  detached: false,
  detached_reason: null,
  unsaved: false,
  saving: false,
  last_save: null,
  last_save_error: null,
  side_snapshots: [],
  restore: null,
  last_error: null,
  started_at: "2026-01-01T00:00:00Z",
};
