import * as Radix from "@radix-ui/react-dropdown-menu";
import { useQuery } from "@tanstack/react-query";
import { modelsQuery } from "../api/models.ts";
import type { Model, ModelRef } from "../api/threadTypes.ts";
import { Icon } from "../ui/Icon.tsx";
import { MenuItem } from "../ui/Menu.tsx";
import { Choice, ChoiceMenu } from "./ChoiceMenu.tsx";

type Props = {
  /** Null: the default one. */
  chosen: ModelRef | null;
  onModel: (model: ModelRef) => void;
  onModels: () => void;
};

/** Which model answers from the next message on. */
export function ModelMenu({ chosen, onModel, onModels }: Props) {
  const { data: models = [] } = useQuery(modelsQuery);
  const shown = chosen?.name ?? models.find(({ is_default }) => is_default)?.name ?? models[0]?.name;
  if (!shown) return null;
  const valueOf = (ref: ModelRef) => `${ref.provider_id} ${ref.name}`;
  const current = chosen ?? refOf(models.find(({ name }) => name === shown));
  const providers = new Map(models.map((model) => [model.provider_id, model.provider_name]));
  return (
    <ChoiceMenu label={`Model ${shown}; choose another`} shown={shown}>
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
    </ChoiceMenu>
  );
}

const refOf = (model: Model | undefined): ModelRef | null =>
  model ? { provider_id: model.provider_id, name: model.name } : null;
