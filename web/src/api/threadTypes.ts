/** What the API answers about threads, their runs and the org's models; see docs/threads.md. */
import type { components } from "./schema.ts";

type Schemas = components["schemas"];

export type KeptEvent = Schemas["KeptEvent"];
export type Model = Schemas["ModelInfo"];
export type ModelProvider = Schemas["ModelProvider"];
export type ModelProviderTested = Schemas["ModelProviderTested"];
export type ModelRef = Schemas["ModelRef"];
export type Run = Schemas["Run"];
export type RunUsage = Schemas["RunUsage"];
export type Thread = Schemas["Thread"];
export type ThreadSent = Schemas["ThreadSent"];

/** One thing that happened in a thread. */
export type ThreadEvent = KeptEvent["event"];
export type HowItEnded = Schemas["RunFinished"]["how"];
export type Harness = Thread["harness"];
export type ProviderKind = ModelProvider["kind"];
