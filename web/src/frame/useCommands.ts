import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { VIEWS } from "../agent/views.ts";
import { agentsQuery, branchesQuery, ORG, useChangeAgent, useSave } from "../api/queries.ts";
import { threadsQuery } from "../api/threads.ts";
import { titleOf } from "../chat/words.ts";
import { chooseTheme, useTheme } from "../ui/theme.ts";
import { useWide } from "../ui/useWide.ts";
import type { Command } from "./commands.ts";

const AGENT = "/$org/agents/$agentId" as const;

/** All that can be gone to or done from the page that is shown; `onDone` tells how it ended, which
may be after the palette is closed. */
export function useCommands(onDone: (words: string) => void): Command[] {
  const navigate = useNavigate();
  const client = useQueryClient();
  const { agentId } = useParams({ strict: false });
  const { branch } = useSearch({ strict: false });
  const { other } = useTheme();
  const wide = useWide();
  const { data: agents = [] } = useQuery(agentsQuery);
  const agent = agents.find(({ id }) => id === agentId);
  const here = branch ?? agent?.default_branch ?? "";
  const { data: branches = [] } = useQuery({ ...branchesQuery(agentId ?? ""), enabled: agent !== undefined });
  const { data: threads } = useInfiniteQuery({ ...threadsQuery(agentId ?? ""), enabled: agent !== undefined });
  const save = useSave({ agentId: agentId ?? "", branch: here });
  const change = useChangeAgent(agentId ?? "");

  const commands: Command[] = [];
  const add = (group: string, id: string, rest: Omit<Command, "group" | "id">) =>
    commands.push({ group, id: `${group} ${id}`, ...rest });

  if (agent) {
    const params = { org: ORG, agentId: agent.id };
    const on = (name: string) => (name === agent.default_branch ? {} : { branch: name });
    const docked = wide && agent.metadata.ui.layout.chat_side !== "none";
    for (const { name, label, icon } of VIEWS) {
      if (name === "chat" && docked) continue;
      add("Views", name, {
        label,
        icon,
        run: () => void navigate({ to: AGENT, params, search: (now) => ({ ...now, main: name }) }),
      });
    }
    add("Actions", "save", {
      label: "Save now",
      detail: "a snapshot of the sandbox",
      icon: "check",
      run: () =>
        void save.mutateAsync("").then(
          () => onDone("Saved."),
          ({ message }: Error) => onDone(`Not saved: ${message}`),
        ),
    });
    add("Actions", "conversation", {
      label: "New conversation",
      icon: "plus",
      run: () =>
        void navigate({ to: AGENT, params, search: (now) => ({ ...now, main: "chat", thread: "new" }) }),
    });
    add("Actions", "pin", {
      label: agent.pinned ? "Unpin this agent" : "Pin this agent",
      icon: "pin",
      run: () =>
        void change.mutateAsync({ pinned: !agent.pinned }).then(
          ({ pinned }) => onDone(pinned ? "Pinned." : "No longer pinned."),
          ({ message }: Error) => onDone(message),
        ),
    });
    for (const name of new Set([agent.default_branch, ...branches])) {
      add("Branches", name, {
        label: name,
        detail: name === here ? "shown" : "",
        icon: "branch",
        run: () => void navigate({ to: AGENT, params, search: ({ main }) => ({ ...(main && { main }), ...on(name) }) }),
      });
    }
    for (const thread of threads?.pages.flatMap((page) => page.threads) ?? []) {
      add("Conversations", thread.id, {
        label: titleOf(thread),
        detail: thread.branch === agent.default_branch ? "" : thread.branch,
        icon: "chat",
        run: () =>
          void navigate({
            to: AGENT,
            params,
            search: ({ main }) => ({ ...(main && { main }), ...on(thread.branch), thread: thread.id }),
          }),
      });
    }
  }
  for (const one of agents) {
    add("Agents", one.id, {
      label: one.title,
      detail: one.default_branch,
      icon: "window",
      run: () => void navigate({ to: AGENT, params: { org: ORG, agentId: one.id } }),
    });
  }
  add("Go to", "home", { label: "Home", detail: "new agent", icon: "home", run: () => void navigate({ to: "/" }) });
  add("Go to", "admin", {
    label: "Admin",
    detail: "sandboxes, store, retention, models, doctor",
    icon: "gauge",
    run: () => void navigate({ to: "/admin" }),
  });
  add("Do", "theme", {
    label: `Switch to ${other}`,
    detail: "theme",
    icon: other === "dark" ? "moon" : "sun",
    run: () => chooseTheme(other),
  });
  add("Do", "refresh", {
    label: "Ask the server anew",
    detail: "refresh what is shown",
    icon: "reload",
    run: () => void client.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] !== "live" }),
  });
  return commands;
}
