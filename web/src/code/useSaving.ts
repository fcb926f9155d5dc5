import { useMutation, useQueryClient } from "@tanstack/react-query";
import { ApiError } from "../api/client.ts";
import { fileQuery, tellWritten, writeFile } from "../api/files.ts";
import { bufferOf, keepBuffer } from "./buffers.ts";

/** Saves what is open of a file, if the one on disk still is the one that is known. */
export function useSaving(handle: string, path: string) {
  const client = useQueryClient();
  return useMutation({
    mutationKey: ["save-file", handle, path],
    scope: { id: `save ${handle} ${path}` },
    /** `over`: the state on disk that may be replaced; null: there must be none. */
    mutationFn: async (over: string | null | undefined) => {
      const buffer = bufferOf(handle, path);
      if (!buffer) return null;
      const text = buffer.state.sliceDoc();
      const etag = await writeFile(handle, path, text, over === undefined ? buffer.base.etag : over);
      return { text, etag };
    },
    onSuccess: (written) => {
      const now = bufferOf(handle, path);
      if (!written || !now) return;
      keepBuffer(handle, path, { ...now, base: written });
      tellWritten(client, handle, path, written.text, written.etag);
    },
    onError: (error) => {
      // It is another one by now: what it is shows, and the user chooses.
      if (error instanceof ApiError && error.status === 412) {
        return client.invalidateQueries(fileQuery(handle, path));
      }
    },
  });
}
