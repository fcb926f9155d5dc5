/** What the API answers, by the names that the app has for it; schema.ts is made from the server. */
import type { components } from "./schema.ts";

type Schemas = components["schemas"];

export type Agent = Schemas["Agent"];
export type Forked = Schemas["SnapshotForked"];
export type McpServer = Schemas["McpServerInfo"];
export type McpServerTested = Schemas["McpServerTested"];
/** Who sees a preview. */
export type PreviewSharing = Schemas["PreviewSharing"];
export type Problem = Schemas["Problem"];
export type Receipt = Schemas["ReceiptInfo"];
export type Remark = Schemas["RemarkInfo"];
export type Restored = Schemas["Restored"];
export type Sandbox = Schemas["Sandbox"];
/** A variable that tasks have; its value is never shown. No agent: it is for all of the org. */
export type Secret = Schemas["SecretInfo"];
export type SecretChanged = Schemas["SecretChanged"];
export type Snapshot = Schemas["Snapshot"];
export type Template = Schemas["TemplateInfo"];
