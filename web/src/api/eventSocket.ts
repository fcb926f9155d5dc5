/** The hub at work: it holds the one connection to the server, and passes on what comes. */
import { afterHappening, type Effect, type Happening, newHub, type Timer } from "./eventHub.ts";
import type { FromTab, Told, ToTab } from "./eventMessages.ts";

/** The server closes so when the sign-in has ended. */
const SIGNED_OUT = 4401;
/** What a plain request to the route is answered where a connection could be had. */
const fine = (status: number) => status < 400 || status >= 500 || status === 429;

export class EventSocketHub {
  #hub = newHub;
  #socket: WebSocket | null = null;
  readonly #url: string;
  readonly #tabs = new Map<number, (message: ToTab) => void>();
  readonly #timers = new Map<Timer, ReturnType<typeof setTimeout>>();
  #lastTab = 0;

  constructor(url: string) {
    this.#url = url;
  }

  /** A tab comes in: what it says goes to `asks`, until `leave`. */
  join(tell: (message: ToTab) => void) {
    this.#lastTab += 1;
    const tab = this.#lastTab;
    this.#tabs.set(tab, tell);
    return {
      asks: (message: FromTab) => this.#happens({ what: "asked", tab, message }),
      leave: () => {
        this.#tabs.delete(tab);
        this.#happens({ what: "tab-gone", tab });
      },
    };
  }

  #happens(happening: Happening) {
    const [after, effects] = afterHappening(this.#hub, happening);
    this.#hub = after;
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: Effect) {
    switch (effect.do) {
      case "connect":
        return this.#connect();
      case "disconnect":
        return this.#disconnect();
      case "send":
        return this.#socket?.send(JSON.stringify(effect.message));
      case "tell":
        return this.#tabs.get(effect.tab)?.(effect.message);
      case "set": {
        this.#clear(effect.timer);
        const { timer } = effect;
        this.#timers.set(
          timer,
          setTimeout(() => this.#happens({ what: timer }), effect.ms),
        );
        return undefined;
      }
      case "clear":
        return this.#clear(effect.timer);
    }
  }

  #clear(timer: Timer) {
    clearTimeout(this.#timers.get(timer));
    this.#timers.delete(timer);
  }

  #disconnect() {
    const socket = this.#socket;
    this.#socket = null; // what it still says is no news
    socket?.close();
  }

  #connect() {
    const socket = new WebSocket(this.#url.replace(/^http/, "ws"));
    this.#socket = socket;
    let wasOpen = false;
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      wasOpen = true;
      this.#happens({ what: "connected" });
    };
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      if (this.#socket !== socket) return;
      this.#happens({ what: "heard", told: JSON.parse(data) as Told });
    };
    socket.onclose = async ({ code }) => {
      if (this.#socket !== socket) return;
      const refused = wasOpen ? (code === SIGNED_OUT ? 401 : null) : await this.#refusal();
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#happens({ what: "disconnected", refused });
    };
  }

  /** Why there is no connection: a WebSocket does not tell its page, a plain request does. */
  async #refusal(): Promise<number | null> {
    try {
      const { status } = await fetch(this.#url, { credentials: "same-origin", cache: "no-store" });
      return fine(status) ? null : status;
    } catch {
      return null; // nobody answers: it is tried again
    }
  }
}
