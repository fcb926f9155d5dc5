import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { agentQuery, createAgent, type NewAgent, ORG } from "../api/queries.ts";
import { startAhead } from "../api/starts.ts";
import { beginThread } from "../api/threads.ts";
import { draftName } from "../chat/useDraft.ts";
import { newId } from "../chat/ids.ts";
import { keep } from "../ui/kept.ts";

type Beginning = { agent: NewAgent; message?: string };

/** Makes an agent, starts its sandbox and leads to its page.

A first message goes to it on the way. One that is not taken (there is no model yet) stands in the
agent's box, so that nothing that was written is lost. */
export function useBegin() {
  const client = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: async ({ agent: wanted, message }: Beginning) => {
      const agent = await createAgent(wanted);
      client.setQueryData(agentQuery(agent.id).queryKey, agent);
      startAhead(agent.id, agent.default_branch);
      const thread = newId();
      if (!message) return { agent };
      const hasSource = Boolean(agent.metadata.template ?? agent.metadata.clone_url);
      try {
        await beginThread(
          { id: thread, agent_id: agent.id, ...(hasSource && { branch: agent.default_branch }) },
          { id: newId(), text: message },
        );
        return { agent, thread };
      } catch {
        // The page of the agent says why, as soon as it is sent from there.
        keep(draftName(`${agent.id} ${agent.default_branch}`), message);
        return { agent };
      }
    },
    onSuccess: async ({ agent, thread }) => {
      void client.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] !== "live" });
      await navigate({
        to: "/$org/agents/$agentId",
        params: { org: ORG, agentId: agent.id },
        search: thread ? { thread } : {},
      });
    },
  });
}
