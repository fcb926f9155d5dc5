/** What a sandbox's daemon answers about its files, repository and terminals; see docs/protocol.md. */

type EntryKind = "file" | "folder" | "link" | "other";

export type ListedEntry = {
  name: string;
  kind: EntryKind;
  size: number;
  mtimeMs: number;
  executable: boolean;
  target?: string;
  /** What a link leads to; null: nothing. */
  targetKind?: EntryKind | null;
};

export type Listed = { entries: ListedEntry[]; total: number; truncated: boolean };

export type Found = { results: string; matchCount: number };

/** A file as it lies in the sandbox; `etag` names this state of it. */
export type FileOnDisk =
  | { kind: "text"; text: string; etag: string; size: number }
  | { kind: "image"; bytes: Blob; etag: string; size: number }
  | { kind: "binary" | "big"; etag: string; size: number }
  | { kind: "missing" | "folder" };

export type TextOnDisk = Extract<FileOnDisk, { kind: "text" }>;

export type ChangedFile = { path: string; index: string; working_dir: string; from?: string };

export type GitStatus = {
  current: string | null;
  base: string | null;
  headSha: string | null;
  ahead: number | null;
  behind: number | null;
  unpushed: number | null;
  clean: boolean;
  underWay: string | null;
  files: ChangedFile[];
};

export type GitDiff = { diffs: Record<string, string>; truncated: boolean; files: string[] };

export type GitCommit = {
  sha: string;
  parents: string[];
  author: { name: string; email: string };
  date: string;
  refs: string[];
  subject: string;
  body: string;
};

export type GitLog = { commits: GitCommit[]; more: boolean };

export type ShownCommit = GitCommit & { patch: string; truncated: boolean };

export type Terminal = {
  id: string;
  command: string;
  status: "running" | "exited" | "failed" | "killed" | "timeout";
  exitCode: number | null;
  startedAt: number;
  finishedAt: number | null;
  /** Something runs in it beside its shell. */
  busy: boolean;
  endedBecause?: string;
};
