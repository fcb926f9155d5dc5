/** Remembers, for this browser, which sandboxes the user stopped: they are not started by themselves. */
const key = (agentId: string) => `limpet-stopped-${agentId}`;

export const wasStopped = (agentId: string) => sessionStorage.getItem(key(agentId)) === "1";

export function rememberStopped(agentId: string, stopped: boolean) {
  if (stopped) sessionStorage.setItem(key(agentId), "1");
  else sessionStorage.removeItem(key(agentId));
}
