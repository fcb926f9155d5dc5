/** Files of a sandbox, whole: what they hold, and which state of them that is. */
import { type QueryClient, queryOptions } from "@tanstack/react-query";
import { ApiError, request } from "./client.ts";
import { daemonUrl, insideKey, POLL } from "./inside.ts";
import type { FileOnDisk } from "./insideTypes.ts";

/** More than this is nothing to edit in a page. */
export const MAX_EDITED_BYTES = 2 * 1024 * 1024;
const PROBED_BYTES = 8192;
const IMAGES: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  avif: "image/avif",
  ico: "image/x-icon",
};

export const downloadUrl = (handle: string, path: string, format?: "zip") =>
  `${daemonUrl(handle, "download")}?${new URLSearchParams({ path, ...(format && { format }) })}`;

const fileKey = (handle: string, path: string) => insideKey(handle, "file", path);

export const fileQuery = (handle: string, path: string) =>
  queryOptions({
    queryKey: fileKey(handle, path),
    queryFn: ({ client, signal }) =>
      readFile(handle, path, client.getQueryData<FileOnDisk>(fileKey(handle, path)), signal),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** The file at `path`; `known` itself where it is still that. */
export async function readFile(
  handle: string,
  path: string,
  known?: FileOnDisk,
  signal?: AbortSignal,
): Promise<FileOnDisk> {
  const url = downloadUrl(handle, path);
  const since: Record<string, string> =
    known && "etag" in known ? { ...POLL, "If-None-Match": known.etag } : POLL;
  const headers = { ...since, Range: `bytes=0-${MAX_EDITED_BYTES - 1}` };
  try {
    const answer = await request(url, { headers, cache: "no-store", signal }, [304]);
    if (answer.status === 304 && known) return known;
    if (answer.headers.get("Content-Type") !== "application/octet-stream") {
      await answer.body?.cancel();
      return { kind: "folder" };
    }
    return await fileOf(path, answer);
  } catch (error) {
    if (error instanceof ApiError && /^(File not found|Not a regular file)/.test(error.message)) {
      return { kind: "missing" };
    }
    throw error;
  }
}

async function fileOf(path: string, answer: Response): Promise<FileOnDisk> {
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const total = /\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "")?.[1];
  const size = total === undefined ? bytes.length : Number(total);
  const etag = answer.headers.get("ETag") ?? "";
  const media = IMAGES[path.slice(path.lastIndexOf(".") + 1).toLowerCase()];
  if (size > bytes.length) return { kind: "big", etag, size };
  if (media) return { kind: "image", bytes: new Blob([bytes], { type: media }), etag, size };
  if (bytes.subarray(0, PROBED_BYTES).includes(0)) return { kind: "binary", etag, size };
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { kind: "text", text, etag, size };
  } catch {
    return { kind: "binary", etag, size };
  }
}

/** Writes a file if it still is what `etag` names (null: if there is none); its new etag.

An `ApiError` 412 says that it is another one by now: nothing was written. */
export async function writeFile(
  handle: string,
  path: string,
  content: string | Blob,
  etag: string | null,
): Promise<string> {
  const condition: Record<string, string> = etag === null ? { "If-None-Match": "*" } : { "If-Match": etag };
  const answer = await request(`${daemonUrl(handle, "upload")}?${new URLSearchParams({ path })}`, {
    method: "PUT",
    headers: { "Content-Type": "application/octet-stream", ...condition },
    body: content,
  });
  return ((await answer.json()) as { etag: string }).etag;
}

/** What was just written is what is there. */
export function tellWritten(client: QueryClient, handle: string, path: string, text: string, etag: string) {
  const written: FileOnDisk = { kind: "text", text, etag, size: new Blob([text]).size };
  client.setQueryData(fileKey(handle, path), written);
}
