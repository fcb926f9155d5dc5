// @vitest-environment node
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { follow, pauseAfter } from "./follow.ts";

const closing: (() => void)[] = [];
afterEach(() => closing.splice(0).forEach((close) => close()));

/** A real server on loopback that gives its answers one after the other. */
async function server(answers: ((request: IncomingMessage, answer: ServerResponse) => void)[]) {
  const heard: (string | undefined)[] = [];
  const http = createServer((request, answer) => {
    heard.push(request.headers["last-event-id"]?.toString());
    answers[Math.min(heard.length, answers.length) - 1]?.(request, answer);
  });
  await new Promise<void>((ready) => http.listen(0, "127.0.0.1", ready));
  closing.push(() => {
    http.closeAllConnections();
    http.close();
  });
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/`, heard };
}

const events = (text: string) => (_: IncomingMessage, answer: ServerResponse) => {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  answer.write(text);
};
const eventsThenEnd = (text: string) => (request: IncomingMessage, answer: ServerResponse) => {
  events(text)(request, answer);
  answer.end();
};
const failing = (status: number) => (_: IncomingMessage, answer: ServerResponse) => {
  answer.writeHead(status).end();
};

/** Follows until `enough` says so; gives what happened. */
async function followed(url: string, enough: (story: string[]) => boolean) {
  const story: string[] = [];
  const stop = new AbortController();
  const tell = (what: string) => {
    story.push(what);
    if (enough(story)) stop.abort();
  };
  const pause = (ms: number) => {
    tell(`pause ${ms}`);
    return Promise.resolve();
  };
  await follow(
    url,
    {
      onOpen: (resumed) => tell(resumed ? "resumed" : "open"),
      onEvents: (told) => told.forEach(({ event }) => tell(event)),
      onLost: () => tell("lost"),
      onRefused: (status) => tell(`refused ${status}`),
    },
    stop.signal,
    pause,
  );
  return story;
}

test("a stream that breaks off goes on after its last event", async () => {
  const { url, heard } = await server([
    eventsThenEnd("id: b-7\nevent: log\ndata: {}\n\n"),
    events("id: b-8\nevent: reload\ndata: {}\n\n"),
  ]);
  const story = await followed(url, (so) => so.includes("reload"));
  expect(story).toEqual(["open", "log", "lost", "pause 1000", "resumed", "reload"]);
  expect(heard).toEqual([undefined, "b-7"]);
});

test("a server that is down is asked again and again, more and more slowly", async () => {
  const { url } = await server([failing(503), failing(503), failing(502), events("data: {}\n\n")]);
  const story = await followed(url, (so) => so.includes("message"));
  expect(story.filter((what) => what.startsWith("pause"))).toEqual([
    "pause 1000",
    "pause 2000",
    "pause 4000",
  ]);
  expect(pauseAfter(20)).toBe(30_000);
});

test("a server that says no is not asked again", async () => {
  const { url, heard } = await server([failing(401)]);
  expect(await followed(url, () => false)).toEqual(["refused 401"]);
  expect(heard).toHaveLength(1);
});
