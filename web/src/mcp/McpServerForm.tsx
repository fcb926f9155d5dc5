import { type FormEvent, useState } from "react";
import { useSetMcpServer } from "../api/mcpServers.ts";
import type { McpServer } from "../api/types.ts";
import { textOf } from "../settings/Section.tsx";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { field } from "../ui/field.ts";
import { HeaderFields, headersOf } from "./HeaderFields.tsx";

type Props = {
  agentId: string;
  /** The one to change; none: a new one. */
  server: McpServer | null;
  /** The names that are there already. */
  taken: string[];
  onCancel: () => void;
  onKept: (name: string) => void;
};

/** Asks for a server's address and what it is to be sent. */
export function McpServerForm({ agentId, server, taken, onCancel, onKept }: Props) {
  const set = useSetMcpServer(agentId);
  const [url, setUrl] = useState(server?.url ?? "");
  const [anew, setAnew] = useState(false);
  const [isTaken, setIsTaken] = useState(false);
  const has = server?.header_names ?? [];
  // What was meant for one address is sent to no other.
  const moved = has.length > 0 && url.trim() !== server?.url;
  const keeps = has.length > 0 && !anew && !moved;

  function keep(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const said = new FormData(event.currentTarget);
    const name = server?.name ?? textOf(said, "name");
    const occupied = server === null && taken.includes(name);
    setIsTaken(occupied);
    if (occupied) return;
    const headers = keeps ? {} : { headers: headersOf(said) };
    set.mutate({ name, url: url.trim(), ...headers }, { onSuccess: () => onKept(name) });
  }

  return (
    <form onSubmit={keep} className="space-y-4 font-medium" autoComplete="off">
      {!server && (
        <label className="block">
          Name
          <input
            name="name"
            required
            maxLength={24}
            pattern="\s*[a-z][a-z0-9\-]*\s*"
            title="Small letters, digits and -, beginning with a letter"
            placeholder="tracker"
            autoCapitalize="off"
            spellCheck={false}
            onChange={() => setIsTaken(false)}
            className={`${field} font-mono text-sm`}
          />
          <span className="mt-1.5 block text-sm font-normal text-muted">
            {isTaken ? (
              <span role="alert" className="text-bad">
                There is one of that name. Change that one, or choose another name.
              </span>
            ) : (
              "Its tools' names begin with it."
            )}
          </span>
        </label>
      )}
      <label className="block">
        Address
        <input
          name="url"
          type="url"
          required
          value={url}
          onChange={(event) => setUrl(event.target.value)}
          pattern="\s*https?://.+"
          title="An address that begins with https:// or http://"
          placeholder="https://mcp.example.com/mcp"
          autoComplete="off"
          spellCheck={false}
          className={`${field} font-mono text-sm`}
        />
      </label>
      {keeps ? (
        <div className="flex flex-wrap items-center justify-between gap-2 font-normal">
          <p className="min-w-0 text-sm text-muted">
            {has.join(", ")}: {has.length === 1 ? "its value stays as it is" : "their values stay as they are"}.
          </p>
          <Button size="small" onClick={() => setAnew(true)}>
            Set anew
          </Button>
        </div>
      ) : (
        <HeaderFields
          first={has.length > 0 ? has : ["Authorization"]}
          explanation={
            moved
              ? "At another address the headers are wanted anew: they are sent nowhere but where they were meant for."
              : "Sealed on this server and never shown again. What has no value is not sent."
          }
        />
      )}
      <div className="font-normal">
        <ErrorText error={set.error} />
      </div>
      <div className="flex flex-wrap justify-end gap-2">
        <Button look="quiet" onClick={onCancel}>
          Cancel
        </Button>
        <Button type="submit" look="main" disabled={set.isPending}>
          {set.isPending ? "Keeping it…" : "Keep it and try it"}
        </Button>
      </div>
    </form>
  );
}
