import type { SseEvent } from "../api/sse.ts";

/** Makes events out of the text of a stream, however it is cut; remembers the last id. */
export class SseParser {
  /** What a reader that comes back gives as `Last-Event-ID`. */
  lastId = "";
  #rest = "";
  #event = "";
  #data: string[] = [];

  /** The events that this piece completes. */
  push(piece: string): SseEvent[] {
    const text = this.#rest + piece;
    // A carriage return at the very end may be the first half of a line's end.
    const upTo = text.endsWith("\r") ? text.length - 1 : text.length;
    const lines = text.slice(0, upTo).split(/\r\n|\r|\n/);
    this.#rest = (lines.pop() ?? "") + text.slice(upTo);
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  #line(line: string): SseEvent | undefined {
    if (line === "") return this.#finish();
    const colon = line.indexOf(":");
    if (colon === 0) return undefined;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.lastId = value;
    return undefined;
  }

  #finish(): SseEvent | undefined {
    const whole =
      this.#data.length > 0
        ? { event: this.#event || "message", data: this.#data.join("\n") }
        : undefined;
    this.#event = "";
    this.#data = [];
    return whole;
  }
}
