/** What is in a running sandbox: its files, its repository, its terminals. */
import {
  infiniteQueryOptions,
  type QueryClient,
  queryOptions,
  useMutation,
  useQueryClient,
} from "@tanstack/react-query";
import { send } from "./client.ts";
import type { Found, GitDiff, GitLog, GitStatus, Listed, ShownCommit, Terminal } from "./insideTypes.ts";
import { base } from "./queries.ts";

/** The repository's own folder, as the daemon's routes call it. */
export const ROOT = ".";
const PAGE = 20;
const MAX_NAMES = 20_000;
const LISTED = 5_000;
/** What the page asks by itself is no work of anybody's. */
export const POLL = { "X-Limpet-Poll": "1" };

export const daemonUrl = (handle: string, route: string) =>
  `${base}/sandboxes/${handle}/daemon/${route}`;

/** The keys of what was asked of a sandbox; the event stream says which are old. */
export const insideKey = (handle: string, ...rest: unknown[]) => ["inside", handle, ...rest];

const get = <T>(handle: string, route: string, asked: Record<string, string> = {}) =>
  send<T>("GET", `${daemonUrl(handle, route)}?${new URLSearchParams(asked)}`, undefined, POLL);

const post = <T>(handle: string, route: string, body: unknown) =>
  send<T>("POST", daemonUrl(handle, route), body);

/** The event stream tells of changes, so nothing grows old by itself. */
const TOLD = { staleTime: Number.POSITIVE_INFINITY };

export const listQuery = (handle: string, folder: string) =>
  queryOptions({
    queryKey: insideKey(handle, "list", folder),
    queryFn: () => post<Listed>(handle, "list", { path: folder, limit: LISTED }),
    ...TOLD,
  });

/** Every file's path, hidden ones too. */
export const namesQuery = (handle: string) =>
  queryOptions({
    queryKey: insideKey(handle, "names"),
    queryFn: async () => {
      const pattern = "{**/*,**/.*,**/.*/**/*,**/.*/**/.*}";
      return (await post<{ files: string[] }>(handle, "glob", { pattern, limit: MAX_NAMES })).files;
    },
    ...TOLD,
  });

export type Sought = { pattern: string; ignoreCase: boolean; glob: string };

export const grepQuery = (handle: string, sought: Sought) =>
  queryOptions({
    queryKey: insideKey(handle, "grep", sought),
    queryFn: () =>
      post<Found>(handle, "grep", {
        pattern: sought.pattern,
        ignore_case: sought.ignoreCase,
        output_mode: "content",
        limit: 500,
        ...(sought.glob && { glob: sought.glob }),
      }),
    enabled: sought.pattern !== "",
    retry: false,
    ...TOLD,
  });

export const statusQuery = (handle: string) =>
  queryOptions({
    queryKey: insideKey(handle, "git", "status"),
    queryFn: () => get<GitStatus>(handle, "git/status"),
    ...TOLD,
  });

/** How a file differs from the last commit. */
export const diffQuery = (handle: string, path: string) =>
  queryOptions({
    queryKey: insideKey(handle, "git", "diff", path),
    queryFn: () => get<GitDiff>(handle, "git/diff", { path }),
    ...TOLD,
  });

export const logQuery = (handle: string) =>
  infiniteQueryOptions({
    queryKey: insideKey(handle, "git", "log"),
    queryFn: ({ pageParam }) =>
      get<GitLog>(handle, "git/log", { limit: String(PAGE), skip: String(pageParam) }),
    initialPageParam: 0,
    getNextPageParam: (last, pages) => (last.more ? pages.length * PAGE : undefined),
    ...TOLD,
  });

/** A commit never changes. */
export const commitQuery = (handle: string, sha: string) =>
  queryOptions({
    queryKey: ["commit", handle, sha],
    queryFn: () => get<ShownCommit>(handle, "git/commit", { sha }),
    ...TOLD,
  });

export const terminalsQuery = (handle: string) =>
  queryOptions({
    queryKey: insideKey(handle, "terminals"),
    queryFn: async () => (await get<{ terminals: Terminal[] }>(handle, "pty")).terminals,
    ...TOLD,
  });

/** Everything that is shown of the sandbox is asked for again. */
export const insideChanged = (client: QueryClient, handle: string) =>
  client.invalidateQueries({ queryKey: insideKey(handle) });

/** A change of the sandbox by one of its daemon's routes. */
export function useInside<In, Out>(handle: string, change: (given: In) => Promise<Out>) {
  const client = useQueryClient();
  return useMutation({ mutationFn: change, onSettled: () => insideChanged(client, handle) });
}

export const useMakeFolder = (handle: string) =>
  useInside(handle, (path: string) => post<unknown>(handle, "mkdir", { path }));

export const useMove = (handle: string) =>
  useInside(handle, (wanted: { from: string; to: string }) => post<unknown>(handle, "rename", wanted));

export const useDelete = (handle: string) =>
  useInside(handle, (path: string) => post<unknown>(handle, "unlink", { path, recursive: true }));

export const useCommit = (handle: string) =>
  useInside(handle, (wanted: { message: string; filepaths?: string[] }) =>
    post<{ committed: boolean; sha: string | null }>(handle, "git/commit", wanted),
  );

export const useDiscard = (handle: string) =>
  useInside(handle, (filepaths: string[]) =>
    post<{ discarded: string[] }>(handle, "git/discard", { filepaths }),
  );

export type RemoteAct = "fetch" | "pull" | "push";

export const useRemote = (handle: string) =>
  useInside(handle, async (act: RemoteAct) => {
    await post<unknown>(handle, `git/${act}`, {});
    return act;
  });

export const useOpenTerminal = (handle: string) =>
  useInside(handle, (size: { cols: number; rows: number }) =>
    post<{ id: string; pty: boolean }>(handle, "pty", size),
  );

/** Ends what runs in a terminal, and takes it out of the list. */
export const useCloseTerminal = (handle: string) =>
  useInside(handle, async ({ id, status }: Terminal) => {
    if (status === "running") await post<unknown>(handle, `tasks/${id}/kill`, {});
    await send<unknown>("DELETE", daemonUrl(handle, `tasks/${id}`));
  });
