import { type FormEvent, useState } from "react";
import { PageHeading } from "../components/PageHeading.tsx";

const field = "mt-1.5 w-full rounded-xl border border-line bg-raised px-4 py-2.5 text-sm";

export function Contact() {
  const [thanked, setThanked] = useState("");

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const name = new FormData(event.currentTarget).get("name");
    setThanked(typeof name === "string" ? name : "");
    event.currentTarget.reset();
  }

  return (
    <>
      <PageHeading title="Contact" lead="A question, an idea, a hello: all are welcome." />
      <form onSubmit={send} className="max-w-md space-y-5 pb-20">
        <label className="block text-sm font-medium">
          Your name
          <input name="name" required autoComplete="name" className={field} />
        </label>
        <label className="block text-sm font-medium">
          Message
          <textarea name="message" required rows={5} className={field} />
        </label>
        <button
          type="submit"
          className="rounded-xl bg-accent px-5 py-2.5 text-sm font-medium text-on-accent transition hover:opacity-90"
        >
          Send
        </button>
        <output className="block text-sm text-muted">
          {thanked && `Thank you, ${thanked}. Connect this form to a service to receive messages.`}
        </output>
      </form>
    </>
  );
}
