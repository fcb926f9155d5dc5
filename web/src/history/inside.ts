import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { call, urlOf } from "../api/client.ts";
import type { Place } from "../api/queries.ts";
import type { components } from "../api/schema.ts";

export type Change = components["schemas"]["SnapshotChange"];
export type Entry = components["schemas"]["SnapshotEntry"];
/** Where a file is in a snapshot: a path, and its exact bytes where it is not plain text. */
export type At = { path: string; raw?: string | null };

const PAGE = 500;
/** A snapshot never changes, so what was read of it holds. */
const always = { staleTime: Number.POSITIVE_INFINITY };
const named = ({ agentId }: Place, snapshot: string) => ({ agent_id: agentId, snapshot_id: snapshot });
const ONE = "/api/{org}/agents/{agent_id}/snapshots/{snapshot_id}";

/** What leads to a snapshot from `other`, by default from the one before it. */
export const changesQuery = (place: Place, snapshot: string, other: string | null) =>
  queryOptions({
    queryKey: ["snapshot-changes", place.agentId, place.branch, snapshot, other],
    queryFn: () =>
      call("get", `${ONE}/diff`, {
        path: named(place, snapshot),
        query: { branch: place.branch, other: other ?? undefined },
      }),
    ...always,
  });

/** How one file differs, as a unified diff; null where it is no text. */
export const fileDiffQuery = (place: Place, snapshot: string, other: string | null, path: string) =>
  queryOptions({
    queryKey: ["snapshot-diff", place.agentId, place.branch, snapshot, other, path],
    queryFn: async () => {
      const { changes } = await call("get", `${ONE}/diff`, {
        path: named(place, snapshot),
        query: { branch: place.branch, other: other ?? undefined, path, text: true },
      });
      return changes.find((change) => change.path === path)?.diff ?? null;
    },
    ...always,
  });

/** A folder's entries, page by page. */
export const filesQuery = (place: Place, snapshot: string, { path, raw }: At) =>
  infiniteQueryOptions({
    queryKey: ["snapshot-files", place.agentId, place.branch, snapshot, path, raw],
    queryFn: ({ pageParam }) =>
      call("get", `${ONE}/files`, {
        path: named(place, snapshot),
        query: { branch: place.branch, path, raw: raw ?? undefined, limit: PAGE, after: pageParam },
      }),
    initialPageParam: 0,
    getNextPageParam: ({ next }) => next,
    ...always,
  });

/** The beginning of a file. */
export const fileQuery = (place: Place, snapshot: string, { path, raw }: At) =>
  queryOptions({
    queryKey: ["snapshot-file", place.agentId, place.branch, snapshot, path, raw],
    queryFn: () =>
      call("get", `${ONE}/file`, {
        path: named(place, snapshot),
        query: { branch: place.branch, path, raw: raw ?? undefined },
      }),
    ...always,
  });

/** Where a file, or a folder as a tar, is had. */
export const downloadUrl = (place: Place, snapshot: string, { path, raw }: At) =>
  urlOf(`${ONE}/download`, { path: named(place, snapshot), query: { branch: place.branch, path, raw } });
