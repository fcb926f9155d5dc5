import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { previewQuery, useEndLinks, useMakeLink, useSetAccess } from "../api/queries.ts";
import type { PreviewSharing } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { CopyText } from "../ui/CopyText.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { isOfThisMachine } from "./addresses.ts";

type Access = PreviewSharing["access"];
const CHOICES: [Access, string, string][] = [
  ["link", "Anyone with the address", "No sign-in. It cannot be guessed, but it can be passed on."],
  ["private", "Private", "People signed in to this Limpet, and anyone you give a link."],
];
const DAYS = [1, 7, 30];

type Props = { handle: string; address: string; onPutOut: () => void; onClose: () => void };

/** Who sees the preview, the address to pass on, and for how long that works. */
export function ShareDialog({ handle, address, onPutOut, onClose }: Props) {
  const { data: sharing, error } = useQuery(previewQuery(handle));
  const set = useSetAccess(handle);
  const access = set.isPending ? set.variables : sharing?.access;
  return (
    <Dialog
      open
      onClose={onClose}
      title="Share the preview"
      explanation={
        <>
          <p aria-live="polite">{sharing ? now(sharing) : "One moment."}</p>
          {isOfThisMachine(address) && (
            <p>
              Its address leads to this machine only. Where previews have a domain (<code>LIMPET_PREVIEW_URL</code>), it works
              for others too.
            </p>
          )}
        </>
      }
    >
      <fieldset className="space-y-2.5" disabled={!sharing || set.isPending}>
        <legend className="sr-only">Who sees it</legend>
        {CHOICES.map(([value, label, explanation]) => (
          <label key={value} className="flex gap-3">
            <input
              type="radio"
              name="access"
              value={value}
              checked={access === value}
              onChange={() => set.mutate(value)}
              className="mt-1 size-4 accent-sea"
            />
            <span>
              {label}
              <span className="block text-sm text-muted">{explanation}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <div className="mt-5 space-y-3">
        {sharing?.access === "link" && <CopyText text={address} />}
        {sharing?.access === "private" && (
          <Links handle={handle} address={address} sharing={sharing} onPutOut={onPutOut} />
        )}
        <ErrorText error={set.error ?? error} />
      </div>
      <div className="mt-5 flex justify-end">
        <Button look="quiet" onClick={onClose}>
          Close
        </Button>
      </div>
    </Dialog>
  );
}

type LinksProps = { handle: string; address: string; sharing: PreviewSharing; onPutOut: () => void };

/** Links to a private preview: one more, or the end of all. */
function Links({ handle, address, sharing, onPutOut }: LinksProps) {
  const [days, setDays] = useState(7);
  const make = useMakeLink(handle);
  const end = useEndLinks(handle);

  function stop() {
    end.mutate(undefined, {
      onSuccess: () => {
        make.reset();
        onPutOut();
      },
    });
  }

  return (
    <>
      <div className="flex flex-wrap items-center gap-2">
        <label className="flex items-center gap-2 text-sm">
          A link for
          <select
            value={days}
            onChange={(event) => setDays(Number(event.target.value))}
            className="h-9 rounded-xl border border-line bg-shore px-3"
          >
            {DAYS.map((one) => (
              <option key={one} value={one}>
                {one === 1 ? "1 day" : `${one} days`}
              </option>
            ))}
          </select>
        </label>
        <Button look="main" disabled={make.isPending} onClick={() => make.mutate({ days, at: address })}>
          <Icon name="share" className="size-4" /> Make a link
        </Button>
        {sharing.links_until && (
          <Button disabled={end.isPending} onClick={stop}>
            Stop sharing
          </Button>
        )}
      </div>
      {make.data && (
        <>
          <CopyText text={make.data.url} />
          <p className="text-sm text-muted">
            Anyone with it sees the preview until {moment(make.data.until)}. It is shown only now.
          </p>
        </>
      )}
      <ErrorText error={make.error ?? end.error} />
    </>
  );
}

function now({ access, links_until }: PreviewSharing): string {
  if (access === "link") {
    return "Anyone with the address sees it now, for as long as the sandbox runs. It shows nothing but the app itself.";
  }
  return links_until
    ? `People signed in to this Limpet see it now, and anyone with a link. The last link ends on ${moment(links_until)}.`
    : "Only people signed in to this Limpet see it now.";
}

const moment = (at: string) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
