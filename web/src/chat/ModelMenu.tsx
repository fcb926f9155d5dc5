import * as Radix from "@radix-ui/react-dropdown-menu";
import { useQuery } from "@tanstack/react-query";
import { modelsQuery } from "../api/models.ts";
import type { Model, ModelRef } from "../api/threadTypes.ts";
import { Icon } from "../ui/Icon.tsx";
import { MenuItem } from "../ui/Menu.tsx";

type Props = {
  /** Null: the default one. */
  chosen: ModelRef | null;
  onModel: (model: ModelRef) => void;
  onModels: () => void;
};

const row =
  "flex cursor-pointer items-center gap-2.5 rounded-xl px-3 py-1.5 outline-none data-highlighted:bg-sunken";

/** Which model answers from the next message on. */
export function ModelMenu({ chosen, onModel, onModels }: Props) {
  const { data: models = [] } = useQuery(modelsQuery);
  const shown = chosen?.name ?? models.find(({ is_default }) => is_default)?.name ?? models[0]?.name;
  if (!shown) return null;
  const valueOf = (ref: ModelRef) => `${ref.provider_id} ${ref.name}`;
  const current = chosen ?? refOf(models.find(({ name }) => name === shown));
  const providers = new Map(models.map((model) => [model.provider_id, model.provider_name]));
  return (
    <Radix.Root>
      <Radix.Trigger
        aria-label={`Model ${shown}; choose another`}
        className="inline-flex h-8 min-w-0 items-center gap-1 rounded-full px-2.5 text-xs text-muted hover:bg-sunken hover:text-ink focus-visible:rounded-full"
      >
        <span className="truncate">{shown}</span>
        <Icon name="down" className="size-3" />
      </Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          align="start"
          side="top"
          sideOffset={6}
          collisionPadding={8}
          className="z-30 max-h-[min(26rem,var(--radix-dropdown-menu-content-available-height))] min-w-60 overflow-auto rounded-2xl border border-line bg-raised p-1.5 text-sm shadow-xl"
        >
          <Radix.RadioGroup
            value={current ? valueOf(current) : ""}
            onValueChange={(value) => {
              const model = models.find((one) => valueOf(one) === value);
              if (model) onModel({ provider_id: model.provider_id, name: model.name });
            }}
          >
            {[...providers].map(([id, name]) => (
              <Radix.Group key={id}>
                <Radix.Label className="px-3 pt-1.5 pb-1 text-xs text-muted">{name}</Radix.Label>
                {models
                  .filter(({ provider_id }) => provider_id === id)
                  .map((model) => (
                    <Choice key={valueOf(model)} value={valueOf(model)} label={model.name} />
                  ))}
              </Radix.Group>
            ))}
          </Radix.RadioGroup>
          <Radix.Separator className="my-1.5 h-px bg-line" />
          <MenuItem onSelect={onModels}>
            <Icon name="key" className="size-4" /> Models and keys…
          </MenuItem>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

function Choice({ value, label }: { value: string; label: string }) {
  return (
    <Radix.RadioItem value={value} className={row}>
      <span className="grid size-4 shrink-0 place-items-center">
        <Radix.ItemIndicator>
          <Icon name="check" className="size-4 text-sea" />
        </Radix.ItemIndicator>
      </span>
      <span className="min-w-0 truncate">{label}</span>
    </Radix.RadioItem>
  );
}

const refOf = (model: Model | undefined): ModelRef | null =>
  model ? { provider_id: model.provider_id, name: model.name } : null;
