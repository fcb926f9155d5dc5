/** What the page in the preview logs as errors, told to the server for the agent that works on it. */

const PAUSE_MS = 500;
const MOST_AT_ONCE = 50;

type Post = (body: { errors: string[]; reset: boolean }) => Promise<unknown>;

/** Gathers what comes within half a second into one request; one is on its way at a time. */
export class ConsoleReport {
  readonly #post: Post;
  #errors: string[] = [];
  #reset = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #busy = false;

  constructor(post: Post) {
    this.#post = post;
  }

  /** Another page is loaded: what was heard before is of one that is no more. */
  loaded() {
    this.#errors = [];
    this.#reset = true;
    this.#soon();
  }

  heard(error: string) {
    // Of a page that never stops only the newest errors matter.
    this.#errors = [...this.#errors, error].slice(-MOST_AT_ONCE);
    this.#soon();
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#errors = [];
    this.#reset = false;
  }

  #soon() {
    if (this.#busy) return;
    this.#timer ??= setTimeout(() => void this.#send(), PAUSE_MS);
  }

  async #send() {
    this.#timer = undefined;
    const body = { errors: this.#errors, reset: this.#reset };
    this.#errors = [];
    this.#reset = false;
    this.#busy = true;
    // A report that is lost is not worth a word: the next load tells anew.
    await this.#post(body).catch(() => undefined);
    this.#busy = false;
    if (this.#errors.length > 0 || this.#reset) this.#soon();
  }
}
