import { useQuery } from "@tanstack/react-query";
import type { Sandbox } from "../api/types.ts";

/** Whether this browser reaches `*.localhost`; some do not resolve it. */
async function reachable(url: string): Promise<boolean> {
  try {
    await fetch(url, { mode: "no-cors", method: "HEAD", signal: AbortSignal.timeout(4000) });
    return true;
  } catch {
    return false;
  }
}

/** The address that the preview has for this browser; null until that is known. */
export function usePreviewUrl(box: Sandbox | null | undefined, up: boolean): string | null {
  const named = box?.preview_url ?? null;
  const loopback = box?.loopback_preview_url ?? null;
  const { data } = useQuery({
    queryKey: ["reachable", named && new URL(named).host],
    queryFn: () => reachable(named ?? ""),
    enabled: up && named !== null && loopback !== null,
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  if (named === null || loopback === null) return named ?? loopback;
  if (data === undefined) return null;
  return data ? named : loopback;
}
