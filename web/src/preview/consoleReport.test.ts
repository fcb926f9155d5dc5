import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ConsoleReport } from "./consoleReport.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

type Body = { errors: string[]; reset: boolean };

test("errors that come together are told together, a page's load before them", async () => {
  const told: Body[] = [];
  const report = new ConsoleReport(async (body) => void told.push(body));
  report.heard("of the page before");
  report.loaded();
  report.heard("one");
  report.heard("two");
  await vi.runAllTimersAsync();
  expect(told).toEqual([{ errors: ["one", "two"], reset: true }]);
  report.heard("three");
  await vi.runAllTimersAsync();
  expect(told[1]).toEqual({ errors: ["three"], reset: false });
});

test("a page that never stops is told in bounded pieces, one request at a time", async () => {
  const told: Body[] = [];
  let answer = () => {};
  const report = new ConsoleReport(
    (body) =>
      new Promise<void>((done) => {
        told.push(body);
        answer = done;
      }),
  );
  for (let number = 0; number < 200; number += 1) report.heard(`error ${number}`);
  await vi.runAllTimersAsync();
  for (let number = 200; number < 400; number += 1) report.heard(`error ${number}`);
  await vi.runAllTimersAsync();
  expect(told).toHaveLength(1);
  expect(told[0]?.errors).toHaveLength(50);
  expect(told[0]?.errors.at(-1)).toBe("error 199");
  answer();
  await vi.runAllTimersAsync();
  expect(told).toHaveLength(2);
  expect(told[1]?.errors.at(-1)).toBe("error 399");
});

test("a server that does not take it is asked again only with what is new", async () => {
  let times = 0;
  const report = new ConsoleReport(() => {
    times += 1;
    return Promise.reject(new Error("away"));
  });
  report.heard("one");
  await vi.runAllTimersAsync();
  expect(times).toBe(1);
  report.heard("two");
  await vi.runAllTimersAsync();
  expect(times).toBe(2);
});

test("nothing is told after the page is left", async () => {
  const told: Body[] = [];
  const report = new ConsoleReport(async (body) => void told.push(body));
  report.heard("one");
  report.close();
  await vi.runAllTimersAsync();
  expect(told).toEqual([]);
});
