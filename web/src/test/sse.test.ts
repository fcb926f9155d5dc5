import { expect, test } from "vitest";
import { SseParser } from "./sse.ts";

const STREAM =
  ': limpet\n\nid: b-1\nevent: log\ndata: {"source":"setup"}\n\nid: b-2\nevent: reload\ndata: {}\n\n';

function parsed(pieces: string[]) {
  const parser = new SseParser();
  return { events: pieces.flatMap((piece) => parser.push(piece)), lastId: parser.lastId };
}

test("events come out whole, however the stream is cut", () => {
  const whole = parsed([STREAM]);
  expect(whole.events).toEqual([
    { event: "log", data: '{"source":"setup"}' },
    { event: "reload", data: "{}" },
  ]);
  expect(whole.lastId).toBe("b-2");
  for (let at = 0; at <= STREAM.length; at++) {
    expect(parsed([STREAM.slice(0, at), STREAM.slice(at)])).toEqual(whole);
  }
  expect(parsed([...STREAM])).toEqual(whole);
});

test("lines may end in any of three ways", () => {
  const other = STREAM.replaceAll("\n", "\r\n");
  expect(parsed([...other])).toEqual(parsed([STREAM]));
  expect(parsed([STREAM.replaceAll("\n", "\r"), "\n"])).toEqual(parsed([STREAM]));
});

test("several data lines are one text, and an event without data is none", () => {
  expect(parsed(["data: a\ndata: b\n\nevent: empty\n\n"]).events).toEqual([
    { event: "message", data: "a\nb" },
  ]);
});

test("an event that was cut off does not come out", () => {
  expect(parsed(["event: log\ndata: {}\n"]).events).toEqual([]);
});
