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

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const told = (await answer.json()) as { error: Problem | string };
    if (typeof told.error === "string") return { code: "daemon", message: told.error, hint: "" };
    return told.error;
  } catch {
    return { code: "unknown", message: `The server answered ${answer.status}`, hint: "" };
  }
}

/** The JSON answer of a request, or an `ApiError`. */
export async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, unreachable);
  }
  if (!answer.ok) throw new ApiError(answer.status, await problemOf(answer));
  return (await answer.json()) as T;
}
