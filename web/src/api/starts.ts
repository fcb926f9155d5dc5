import { call } from "./client.ts";

const ahead = new Map<string, ReturnType<typeof askToStart>>();
const nameOf = (agentId: string, branch: string) => `${agentId} ${branch}`;

const askToStart = (agentId: string, branch: string, withoutSnapshot: boolean) =>
  call("post", "/api/{org}/vm/start", { body: { virtualMcpId: agentId, branch, withoutSnapshot } });

/** Asks for a sandbox that a page is about to show, before the page is there. How it ends is the
page's to tell, which takes the answer over with its own `start`; a page that comes after that looks
for itself. */
export function startAhead(agentId: string, branch: string) {
  const name = nameOf(agentId, branch);
  const asked = askToStart(agentId, branch, false);
  const forget = () => {
    if (ahead.get(name) === asked) ahead.delete(name);
  };
  ahead.set(name, asked);
  asked.then(forget, forget);
}

/** Whether a start was asked for ahead, is under way, and no page has taken it over yet. */
export const wasStartedAhead = (agentId: string, branch: string) => ahead.has(nameOf(agentId, branch));

/** Starts a sandbox, or gives the answer to what was asked ahead. */
export function start(agentId: string, branch: string, withoutSnapshot: boolean) {
  const name = nameOf(agentId, branch);
  const asked = withoutSnapshot ? undefined : ahead.get(name);
  ahead.delete(name);
  return asked ?? askToStart(agentId, branch, withoutSnapshot);
}
