import type { ProviderKind } from "../api/threadTypes.ts";

type Words = {
  label: string;
  /** What its keys begin with, or look like. */
  key: string;
  /** Where a key is to be had. */
  from: string;
  url: "needed" | "possible";
  example: string;
};

export const PROVIDERS: Record<ProviderKind, Words> = {
  anthropic: {
    label: "Anthropic",
    key: "sk-ant-…",
    from: "console.anthropic.com, under API keys",
    url: "possible",
    example: "https://api.anthropic.com",
  },
  openai: {
    label: "OpenAI",
    key: "sk-…",
    from: "platform.openai.com, under API keys",
    url: "possible",
    example: "https://api.openai.com/v1",
  },
  google: {
    label: "Google Gemini",
    key: "AIza…",
    from: "aistudio.google.com, under Get API key",
    url: "possible",
    example: "https://generativelanguage.googleapis.com",
  },
  bedrock: {
    label: "Amazon Bedrock",
    key: "A Bedrock API key",
    from: "the AWS console, under Bedrock, API keys",
    url: "needed",
    example: "https://bedrock-runtime.eu-central-1.amazonaws.com",
  },
  "openai-compatible": {
    label: "Local, or another server",
    key: "Left empty where it asks for none",
    from: "whoever runs it; Ollama, llama.cpp and vLLM need none",
    url: "needed",
    example: "http://127.0.0.1:11434/v1",
  },
};

export const PROVIDER_KINDS = Object.keys(PROVIDERS) as ProviderKind[];
