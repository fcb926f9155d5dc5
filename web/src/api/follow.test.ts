// @vitest-environment node
import { expect, test } from "vitest";
import type { FromTab, Subject, ToTab } from "./eventMessages.ts";
import { follow } from "./follow.ts";

const subject: Subject = { of: "sandbox", agentId: "agt_1", branch: "main" };
type Answer = (tell: (message: Omit<ToTab, "key">) => void) => void;

/** A hub that answers what it is asked for, one after the other. */
function hub(answers: Answer[]) {
  const asked: string[] = [];
  const taken: number[] = [];
  let key = 0;
  const tab = {
    follow(
      _: Subject,
      lastId: string,
      handler: (message: Exclude<ToTab, { kind: "hello" }>) => void,
    ) {
      key += 1;
      const own = key;
      asked.push(lastId);
      const answer = answers[asked.length - 1];
      queueMicrotask(() =>
        answer?.((message) => handler({ ...message, key: own } as Exclude<ToTab, { kind: "hello" }>)),
      );
      return {
        taken: (n: Extract<FromTab, { kind: "taken" }>["n"]) => taken.push(n),
        leave: () => asked.push("left"),
      };
    },
  };
  return { tab, asked, taken };
}

const event = (n: number, name: string, id: string | null = null, data = "{}") => ({
  kind: "event" as const,
  n,
  id,
  event: name,
  data,
});
const opened = { kind: "opened" as const };

/** Follows until `enough` says so; gives what happened. */
async function followed(tab: ReturnType<typeof hub>["tab"], enough: (story: string[]) => boolean) {
  const story: string[] = [];
  const stop = new AbortController();
  const tell = (what: string) => {
    story.push(what);
    if (enough(story)) stop.abort();
  };
  await follow(
    subject,
    {
      onOpen: (resumed) => tell(resumed ? "resumed" : "open"),
      onEvents: (told) => told.forEach(({ event: name }) => tell(name)),
      onLost: () => tell("lost"),
      onRefused: (status) => tell(`refused ${status}`),
    },
    stop.signal,
    tab,
    (ms) => Promise.resolve(tell(`pause ${ms}`)),
  );
  return story;
}

test("a stream that breaks off goes on after its last event", async () => {
  const { tab, asked } = hub([
    (tell) => [opened, event(1, "log", "b-7"), event(2, "sandbox"), { kind: "ended" as const, rest: true }].forEach(tell),
    (tell) => [opened, event(1, "reload", "b-8")].forEach(tell),
  ]);
  const story = await followed(tab, (so) => so.includes("reload"));
  expect(story).toEqual(["open", "log", "sandbox", "lost", "pause 1000", "resumed", "reload"]);
  expect(asked).toEqual(["", "b-7", "left"]);
});

test("streams that end at once are asked for more and more slowly", async () => {
  const ends: Answer = (tell) => tell({ kind: "ended", rest: true } as never);
  const { tab } = hub([ends, ends, ends, (tell) => [opened, event(1, "log")].forEach(tell)]);
  const story = await followed(tab, (so) => so.includes("log"));
  expect(story.filter((what) => what.startsWith("pause"))).toEqual([
    "pause 1000",
    "pause 2000",
    "pause 4000",
  ]);
});

test("a lost connection is the hub's to pause for", async () => {
  const { tab } = hub([
    (tell) => tell({ kind: "ended", rest: false } as never),
    (tell) => [opened, event(1, "log")].forEach(tell),
  ]);
  expect(await followed(tab, (so) => so.includes("log"))).toEqual(["lost", "open", "log"]);
});

test("a server that says no is not asked again", async () => {
  const { tab, asked } = hub([(tell) => tell({ kind: "refused", status: 401 } as never)]);
  expect(await followed(tab, () => false)).toEqual(["refused 401"]);
  expect(asked).toEqual([""]);
});

test("what was taken is told before the window is full", async () => {
  const many = Array.from({ length: 40 }, (_, n) => event(n + 1, n === 39 ? "end" : "log"));
  const { tab, taken } = hub([(tell) => [opened, ...many].forEach(tell)]);
  await followed(tab, (so) => so.includes("end"));
  expect(taken).toEqual([16, 32]);
  const large = hub([
    (tell) => [opened, event(1, "log", null, "x".repeat(100_000)), event(2, "end")].forEach(tell),
  ]);
  await followed(large.tab, (so) => so.includes("end"));
  expect(large.taken).toEqual([1]);
});
