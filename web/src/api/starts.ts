import { call } from "./client.ts";

const ahead = new Map<string, ReturnType<typeof askToStart>>();
const nameOf = (agentId: string, branch: string) => `${agentId} ${branch}`;

const askToStart = (agentId: string, branch: string, withoutSnapshot: boolean) =>
  call("post", "/api/{org}/vm/start", { body: { virtualMcpId: agentId, branch, withoutSnapshot } });

/** Asks for a sandbox that a page is about to show, before the page is there. How it ends is the
page's to tell, which takes the answer over with its own `start`. */
export function startAhead(agentId: string, branch: string) {
  const asked = askToStart(agentId, branch, false);
  asked.catch(() => undefined);
  ahead.set(nameOf(agentId, branch), asked);
}

/** Whether a start was asked for ahead that no page has taken over yet. */
export const wasStartedAhead = (agentId: string, branch: string) => ahead.has(nameOf(agentId, branch));

/** Starts a sandbox, or gives the answer to what was asked ahead. */
export function start(agentId: string, branch: string, withoutSnapshot: boolean) {
  const name = nameOf(agentId, branch);
  const asked = withoutSnapshot ? undefined : ahead.get(name);
  ahead.delete(name);
  return asked ?? askToStart(agentId, branch, withoutSnapshot);
}
