import { type FormEvent, useState } from "react";
import { PageHeading } from "../components/PageHeading.tsx";

const field = "mt-2 w-full rounded-2xl border border-line bg-raised px-4 py-3 font-normal";

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
      <form onSubmit={send} className="max-w-lg space-y-6 pb-24">
        <label className="block font-medium">
          Your name
          <input name="name" required autoComplete="name" className={field} />
        </label>
        <label className="block font-medium">
          Message
          <textarea name="message" required rows={5} className={field} />
        </label>
        <button
          type="submit"
          className="cursor-pointer rounded-full bg-accent px-6 py-3 font-medium text-on-accent transition hover:opacity-90"
        >
          Send
        </button>
        <output className="block text-muted">
          {thanked && `Thank you, ${thanked}. Connect this form to a service to receive messages.`}
        </output>
      </form>
    </>
  );
}
