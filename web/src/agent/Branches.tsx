import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { branchesQuery } from "../api/queries.ts";
import type { Agent } from "../api/types.ts";
import { Dropdown } from "../ui/Dropdown.tsx";
import { Icon } from "../ui/Icon.tsx";
import { MenuItem } from "../ui/Menu.tsx";

const route = getRouteApi("/$org/agents/$agentId");

/** The branch that is shown, and the way to the agent's other ones. */
export function Branches({ agent, home }: { agent: Agent; home: string }) {
  const { data = [] } = useQuery(branchesQuery(agent.id));
  const navigate = route.useNavigate();
  const shown = agent.default_branch;
  const branches = [...new Set([home, shown, ...data])];

  function open(branch: string) {
    void navigate({
      search: ({ main }) => ({ ...(main && { main }), ...(branch !== home && { branch }) }),
    });
  }

  if (branches.length === 1) {
    return (
      <span className="truncate font-mono" title="Branch">
        {shown}
      </span>
    );
  }
  return (
    <Dropdown
      label={`Branch ${shown}; choose another`}
      face={
        <>
          <span className="truncate">{shown}</span>
          <Icon name="down" className="size-3" />
        </>
      }
      look="inline-flex min-w-0 items-center gap-1 rounded font-mono hover:text-ink"
      align="start"
      size="max-h-80 min-w-52"
    >
      {branches.map((branch) => (
        <MenuItem key={branch} onSelect={() => open(branch)}>
          <Icon name={branch === shown ? "check" : "branch"} className="size-4" />
          <span className="font-mono text-xs">{branch}</span>
          {branch === home && <span className="ml-auto text-xs text-muted">its own</span>}
        </MenuItem>
      ))}
    </Dropdown>
  );
}
