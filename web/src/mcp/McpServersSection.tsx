import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { mcpServersQuery, useTestMcpServer } from "../api/mcpServers.ts";
import type { McpServer } from "../api/types.ts";
import { Section } from "../settings/Section.tsx";
import { Button } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { McpServerForm } from "./McpServerForm.tsx";
import { McpServerRow } from "./McpServerRow.tsx";

/** The other MCP servers that an agent has tools of. */
export function McpServersSection({ agentId }: { agentId: string }) {
  const { data: servers, error } = useQuery(mcpServersQuery(agentId));
  const test = useTestMcpServer(agentId);
  const [open, setOpen] = useState<McpServer | "new" | null>(null);
  const close = () => setOpen(null);
  return (
    <Section
      title="MCP servers"
      explanation="More tools for Limpet's own agent, from the next message on. This server speaks to them itself: no sandbox sees their headers."
    >
      <ErrorText error={error} />
      {!servers && !error && <p className="text-muted">Looking…</p>}
      {servers && servers.length > 0 && (
        <ul aria-label="MCP servers" className="divide-y divide-line rounded-2xl border border-line">
          {servers.map((server) => (
            <McpServerRow
              key={server.name}
              agentId={agentId}
              server={server}
              onTest={() => test.mutate(server.name)}
              onChange={() => setOpen(server)}
            />
          ))}
        </ul>
      )}
      {servers?.length === 0 && (
        <p className="leading-relaxed text-pretty text-muted">
          None yet. An issue tracker, a design tool, your own service: where it offers MCP over HTTP, its
          address and a key of yours are all that is needed, and the agent can use what it offers.
        </p>
      )}
      {servers && (
        <Button className="mt-4" onClick={() => setOpen("new")}>
          <Icon name="plus" className="size-4" /> Add a server
        </Button>
      )}
      {open && servers && (
        <Dialog
          open
          onClose={close}
          title={open === "new" ? "Add an MCP server" : `Change ${open.name}`}
          explanation="Its documentation names the address (of streamable HTTP) and the header that it wants."
        >
          <McpServerForm
            agentId={agentId}
            server={open === "new" ? null : open}
            taken={servers.map(({ name }) => name)}
            onCancel={close}
            onKept={(name) => {
              close();
              test.mutate(name);
            }}
          />
        </Dialog>
      )}
    </Section>
  );
}
