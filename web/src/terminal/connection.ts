/** One terminal's WebSocket: taken up again where it was lost, until the terminal ends. */
import { pauseAfter, pauseOrWake } from "../api/pauses.ts";

export type Connection =
  | { kind: "connecting" }
  | { kind: "open"; pty: boolean }
  | { kind: "lost" }
  | { kind: "ended"; exitCode: number; status: string; reason: string | null }
  /** The sandbox has no such terminal any more. */
  | { kind: "gone" };

type Listener = {
  onState: (state: Connection) => void;
  /** What was on the screen comes again, from its beginning. */
  onAfresh: () => void;
  onOutput: (bytes: Uint8Array) => void;
};

type Told = {
  type: string;
  pty?: boolean;
  exitCode?: number;
  status?: string;
  reason?: string | null;
};

type Parts = {
  connect: (url: string) => WebSocket;
  /** Whether the sandbox knows the terminal; an error where nobody answers. */
  isThere: () => Promise<boolean>;
  pause: (ms: number, stop: AbortSignal) => Promise<void>;
};

/** `WebSocket.OPEN`. */
const OPEN = 1;

/** How the end of a connection is to be taken. */
type End = "ended" | "lost" | "stopped";

export class TerminalConnection {
  readonly #url: string;
  readonly #listener: Listener;
  readonly #parts: Parts;
  readonly #stop = new AbortController();
  #socket: WebSocket | null = null;
  #ready = false;
  #early: Uint8Array<ArrayBuffer>[] | null = [];

  constructor(url: string, listener: Listener, isThere: Parts["isThere"], parts: Partial<Parts> = {}) {
    this.#url = url;
    this.#listener = listener;
    this.#parts = { connect: (to) => new WebSocket(to), pause: pauseOrWake, isThere, ...parts };
  }

  /** Connects, again and again, until the terminal has ended or `stop` is called. */
  async run(): Promise<void> {
    const { signal } = this.#stop;
    this.#listener.onState({ kind: "connecting" });
    for (let failures = 0; !signal.aborted; ) {
      if ((await this.#once()) !== "lost") return;
      // A connection that had opened was fine: the next try may come at once.
      failures = this.#ready ? 1 : failures + 1;
      this.#early = null;
      this.#listener.onState({ kind: "lost" });
      if (await this.#isGone()) {
        if (!signal.aborted) this.#listener.onState({ kind: "gone" });
        return;
      }
      await this.#parts.pause(pauseAfter(failures), signal);
    }
  }

  stop() {
    this.#stop.abort();
    this.#socket?.close();
  }

  /** Types. What comes before the first connection waits for it; while one is lost nothing is taken. */
  type(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (this.#early) {
      this.#early.push(bytes);
      return true;
    }
    if (!this.#ready || this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(bytes);
    return true;
  }

  resize(cols: number, rows: number) {
    if (!this.#ready || this.#socket?.readyState !== OPEN) return;
    this.#socket.send(JSON.stringify({ type: "resize", cols, rows }));
  }

  async #isGone(): Promise<boolean> {
    try {
      return !(await this.#parts.isThere());
    } catch {
      return false;
    }
  }

  #once(): Promise<End> {
    return new Promise((resolve) => {
      const socket = this.#parts.connect(this.#url);
      let end: End = "lost";
      socket.binaryType = "arraybuffer";
      this.#socket = socket;
      this.#ready = false;
      socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
        if (this.#stop.signal.aborted) return;
        if (typeof data !== "string") return this.#listener.onOutput(new Uint8Array(data));
        const told = JSON.parse(data) as Told;
        if (told.type === "ready") {
          this.#ready = true;
          this.#listener.onAfresh();
          this.#listener.onState({ kind: "open", pty: told.pty ?? true });
          for (const bytes of this.#early ?? []) socket.send(bytes);
          this.#early = null;
        } else if (told.type === "exit") {
          end = "ended";
          const { exitCode = -1, status = "exited", reason = null } = told;
          this.#listener.onState({ kind: "ended", exitCode, status, reason });
        }
      };
      socket.onclose = () => resolve(this.#stop.signal.aborted ? "stopped" : end);
    });
  }
}
