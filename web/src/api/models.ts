import { queryOptions } from "@tanstack/react-query";
import { call } from "./client.ts";
import { useChange } from "./queries.ts";
import type { components } from "./schema.ts";

const PROVIDERS = "/api/{org}/model-providers";
const PROVIDER = `${PROVIDERS}/{provider_id}` as const;

/** What a thread can choose, the default one first. */
export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: async () => (await call("get", "/api/{org}/models")).models,
  staleTime: 60_000,
});

export const providersQuery = queryOptions({
  queryKey: ["model-providers"],
  queryFn: async () => (await call("get", PROVIDERS)).providers,
});

export type ProviderFields = components["schemas"]["ModelProviderCreate"];

/** Keeps a provider, as a new one or in the place of `id`, and asks it for its models. */
export const useKeepProvider = () =>
  useChange(async ({ id, fields }: { id: string | null; fields: ProviderFields }) => {
    const { kind, ...choices } = fields;
    const provider = id
      ? await call("patch", PROVIDER, { path: { provider_id: id }, body: choices })
      : await call("post", PROVIDERS, { body: { kind, ...choices } });
    return { provider, tested: await testProvider(provider.id) };
  });

const testProvider = (id: string) => call("post", `${PROVIDER}/test`, { path: { provider_id: id } });

export const useTestProvider = () => useChange(testProvider);

export const useChooseDefault = () =>
  useChange(({ id, model }: { id: string; model: string }) =>
    call("patch", PROVIDER, { path: { provider_id: id }, body: { default_model: model, is_default: true } }),
  );

export const useDeleteProvider = () =>
  useChange((id: string) => call("delete", PROVIDER, { path: { provider_id: id } }));
