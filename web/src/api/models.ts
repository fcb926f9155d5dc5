import { queryOptions } from "@tanstack/react-query";
import { send } from "./client.ts";
import { base, useChange } from "./queries.ts";
import type { Model, ModelProvider, ModelProviderTested, ProviderKind } from "./threadTypes.ts";

const providerUrl = (id: string) => `${base}/model-providers/${encodeURIComponent(id)}`;

/** What a thread can choose, the default one first. */
export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: async () => (await send<{ models: Model[] }>("GET", `${base}/models`)).models,
  staleTime: 60_000,
});

export const providersQuery = queryOptions({
  queryKey: ["model-providers"],
  queryFn: async () =>
    (await send<{ providers: ModelProvider[] }>("GET", `${base}/model-providers`)).providers,
});

export type ProviderFields = {
  kind: ProviderKind;
  api_key?: string;
  base_url?: string;
  models?: string[];
  default_model?: string;
};

/** Keeps a provider, as a new one or in the place of `id`, and asks it for its models. */
export const useKeepProvider = () =>
  useChange(async ({ id, fields }: { id: string | null; fields: ProviderFields }) => {
    const { kind, ...choices } = fields;
    const provider = id
      ? await send<ModelProvider>("PATCH", providerUrl(id), choices)
      : await send<ModelProvider>("POST", `${base}/model-providers`, { kind, ...choices });
    return { provider, tested: await testProvider(provider.id) };
  });

const testProvider = (id: string) =>
  send<ModelProviderTested>("POST", `${providerUrl(id)}/test`);

export const useTestProvider = () => useChange(testProvider);

export const useChooseDefault = () =>
  useChange(({ id, model }: { id: string; model: string }) =>
    send<ModelProvider>("PATCH", providerUrl(id), { default_model: model, is_default: true }),
  );

export const useDeleteProvider = () =>
  useChange((id: string) => send<unknown>("DELETE", providerUrl(id)));
