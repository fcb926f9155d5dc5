import type { paths } from "./schema.ts";
import type { Problem } from "./types.ts";

/** An error that the server explained: what happened, and what to do about it. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string;

  constructor(status: number, problem: Problem) {
    super(problem.message);
    this.status = status;
    this.code = problem.code;
    this.hint = problem.hint;
  }
}

const unreachable: Problem = {
  code: "unreachable",
  message: "The server does not answer",
  hint: "Is `limpet serve` still running on this machine?",
};

type Refusal = { error: Problem | string; code?: string; hint?: string };

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const { error, code = "daemon", hint = "" } = (await answer.json()) as Refusal;
    return typeof error === "string" ? { code, message: error, hint } : error;
  } catch {
    return { code: "unknown", message: `The server answered ${answer.status}`, hint: "" };
  }
}

/** The answer to a request of any kind, or an `ApiError`; `fine` are further statuses that are none. */
export async function request(path: string, init: RequestInit, fine: number[] = []): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, unreachable);
  }
  if (!answer.ok && !fine.includes(answer.status)) {
    throw new ApiError(answer.status, await problemOf(answer));
  }
  return answer;
}

/** The JSON answer of a request, or an `ApiError`. */
export async function send<T>(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<T> {
  const json: Record<string, string> =
    body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await request(path, {
    method,
    headers: { ...json, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return (await answer.json()) as T;
}

type Method = "get" | "post" | "patch" | "delete";
type Operation = {
  parameters: { query?: object | undefined; path?: object | undefined };
  requestBody?: { content: { "application/json": unknown } } | undefined;
  responses: { 200: { content: { "application/json": unknown } } };
};
/** The paths that have this method, each with its operation. */
type Operations<M extends Method> = {
  [P in keyof paths as paths[P][M] extends Operation ? P : never]: Extract<paths[P][M], Operation>;
};
type Given<O extends Operation> = {
  /** What stands in the path; the org is always the same one. */
  path?: Omit<NonNullable<O["parameters"]["path"]>, "org">;
  query?: NonNullable<O["parameters"]["query"]>;
  body?: NonNullable<O["requestBody"]>["content"]["application/json"];
};
type Told<O extends Operation> = O["responses"][200]["content"]["application/json"];

export const ORG = "local";

/** The path of an operation with what stands in it, and its query; what is undefined is left out. */
export function urlOf(path: string, { path: named = {}, query = {} }: { path?: object; query?: object }) {
  const filled: Record<string, unknown> = { org: ORG, ...named };
  const where = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(filled[name])));
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) asked.set(name, String(value));
  }
  return asked.size > 0 ? `${where}?${asked}` : where;
}

/** Calls an operation of the API; what it takes and answers is checked against the server's schema. */
export function call<M extends Method, P extends keyof Operations<M> & string>(
  method: M,
  path: P,
  given: Given<Operations<M>[P]> = {},
): Promise<Told<Operations<M>[P]>> {
  return send(method.toUpperCase(), urlOf(path, given), given.body);
}
