import { queryOptions, useQuery } from "@tanstack/react-query";
import { ApiError, call } from "../api/client.ts";
import { diffQuery } from "../api/inside.ts";
import type { FileOnDisk } from "../api/insideTypes.ts";
import type { Place } from "../api/queries.ts";
import { unpatched } from "./unpatch.ts";

/** What an open file can be compared with. */
export type Against = "commit" | "snapshot" | "disk";

const SNAPSHOT_BYTES = 5 * 1024 * 1024;

/** A file as a snapshot has it; null where it has none. A snapshot never changes. */
const snapshotFileQuery = ({ agentId, branch }: Place, snapshot: string, path: string) =>
  queryOptions({
    queryKey: ["snapshot-file", snapshot, path],
    queryFn: async () => {
      try {
        return await call("get", "/api/{org}/agents/{agent_id}/snapshots/{snapshot_id}/file", {
          path: { agent_id: agentId, snapshot_id: snapshot },
          query: { branch, path: `repo/${path}`, limit: SNAPSHOT_BYTES },
        });
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error;
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
  });

type Original = { text: string | null; said: string; error: Error | null };

type Asked = {
  handle: string;
  place: Place;
  path: string;
  disk: FileOnDisk | undefined;
  against: Against | null;
  /** The newest snapshot. */
  snapshot: string | null;
};

/** The text that a file is compared with, and what there is to say of it. */
export function useOriginal({ handle, place, path, disk, against, snapshot }: Asked): Original {
  const patch = useQuery({ ...diffQuery(handle, path), enabled: against === "commit" });
  const kept = useQuery({
    ...snapshotFileQuery(place, snapshot ?? "", path),
    enabled: against === "snapshot" && snapshot !== null,
  });
  const text = disk?.kind === "text" ? disk.text : "";
  const nothing = { text: null, error: null };
  if (against === "disk") return { text, said: "Beside what is on disk", error: null };
  if (against === "commit") {
    if (patch.error) return { ...nothing, said: "", error: patch.error };
    if (!patch.data) return { ...nothing, said: "Looking at the last commit…" };
    const { [path]: diff } = patch.data.diffs;
    if (diff === undefined && patch.data.files.includes(path)) {
      return { ...nothing, said: "It differs too much from the last commit to be shown." };
    }
    const original = diff === undefined ? text : unpatched(text, diff);
    // One of the two is older than the other, for a moment.
    if (original === null) return { ...nothing, said: "Looking at the last commit…" };
    return { text: original, said: saidOf("the last commit", original === text), error: null };
  }
  if (against === "snapshot") {
    if (snapshot === null) return { ...nothing, said: "There is no snapshot yet." };
    if (kept.error) return { ...nothing, said: "", error: kept.error };
    if (kept.data === undefined) return { ...nothing, said: "Looking into the last snapshot…" };
    if (kept.data === null) return { text: "", said: "The last snapshot has no such file", error: null };
    if (kept.data.text === null || kept.data.truncated) {
      return { ...nothing, said: "In the last snapshot it is no text, or too large to be shown." };
    }
    return { text: kept.data.text, said: saidOf("the last snapshot", kept.data.text === text), error: null };
  }
  return { ...nothing, said: "" };
}

const saidOf = (what: string, equal: boolean) =>
  equal ? `On disk it is as in ${what}` : `Beside ${what}`;
