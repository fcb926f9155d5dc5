import { useState } from "react";
import { Button } from "../ui/Button.tsx";
import { field } from "../ui/field.ts";
import { Icon } from "../ui/Icon.tsx";

const NAME = "header-name";
const VALUE = "header-value";
const MOST = 16;

/** The headers that a form's fields name; what has no value is left out. */
export function headersOf(said: FormData): Record<string, string> {
  const texts = (name: string) => said.getAll(name).map((text) => (typeof text === "string" ? text.trim() : ""));
  const values = texts(VALUE);
  const pairs = texts(NAME).map((name, at) => [name, values[at] ?? ""] as const);
  return Object.fromEntries(pairs.filter(([name, value]) => name && value));
}

/** Fields for headers; `first` are the names that they begin with. */
export function HeaderFields({ first, explanation }: { first: string[]; explanation: string }) {
  const [rows, setRows] = useState(() => first.map((name, id) => ({ id, name })));
  return (
    <fieldset>
      <legend>Headers</legend>
      <p className="mt-1 text-sm font-normal text-pretty text-muted">{explanation}</p>
      {rows.map(({ id, name }) => (
        <div key={id} className="grid gap-x-2 sm:grid-cols-[11rem_1fr]">
          <input
            name={NAME}
            aria-label="Header"
            defaultValue={name}
            maxLength={128}
            placeholder="X-Api-Key"
            autoCapitalize="off"
            spellCheck={false}
            className={`${field} font-mono text-sm`}
          />
          <input
            name={VALUE}
            type="password"
            aria-label="Value"
            maxLength={8192}
            placeholder={name === "Authorization" ? "Bearer …" : ""}
            autoComplete="off"
            spellCheck={false}
            className={`${field} font-mono text-sm`}
          />
        </div>
      ))}
      {rows.length < MOST && (
        <Button
          look="quiet"
          size="small"
          className="mt-1.5 -ml-3"
          onClick={() => setRows((now) => [...now, { id: now.length, name: "" }])}
        >
          <Icon name="plus" className="size-4" /> Another header
        </Button>
      )}
    </fieldset>
  );
}
