import { useRef, useState } from "react";
import { exportUrl, type Place, useDeleteSnapshot } from "../api/queries.ts";
import type { Snapshot } from "../api/types.ts";
import { Asking } from "../ui/Confirm.tsx";
import { download } from "../ui/download.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { Button } from "../ui/Button.tsx";
import { ForkDialog } from "./ForkDialog.tsx";
import { nameOf, titleWords } from "./words.ts";

type Props = { place: Place; snapshot: Snapshot; when: string; onName: () => void };

/** What is done with a snapshot beside going back to it. */
export function SnapshotMenu({ place, snapshot, when, onName }: Props) {
  const [asked, setAsked] = useState<"fork" | "delete" | null>(null);
  const remove = useDeleteSnapshot(place);
  const renaming = useRef(false);
  const close = () => setAsked(null);
  const newest = snapshot.is_head && snapshot.lineage === "main";
  const name = nameOf(snapshot);
  const turn = snapshot.turn && titleWords(snapshot).toLowerCase();
  const called = name ? `“${name}”` : turn ? `what was saved ${turn}` : `what was saved ${when}`;
  return (
    <>
      <Menu
        label={`More about ${called}`}
        onClosed={(event) => {
          // The field that takes the focus can only have it once the menu is gone.
          if (!renaming.current) return;
          renaming.current = false;
          event.preventDefault();
          onName();
        }}
      >
        <MenuItem
          onSelect={() => {
            renaming.current = true;
          }}
        >
          <Icon name="tag" className="size-4" /> {name ? "Rename" : "Name it"}
        </MenuItem>
        <MenuItem onSelect={() => setAsked("fork")}>
          <Icon name="branch" className="size-4" /> Fork…
        </MenuItem>
        <MenuItem onSelect={() => download(exportUrl(place, snapshot.id), `${snapshot.id}.tar`)}>
          <Icon name="download" className="size-4" /> Export as a tar
        </MenuItem>
        {!newest && snapshot.condemned_because !== "deleted" && (
          <MenuItem dangerous disabled={remove.isPending} onSelect={() => setAsked("delete")}>
            <Icon name="cross" className="size-4" /> Delete…
          </MenuItem>
        )}
      </Menu>
      {asked === "fork" && <ForkDialog place={place} snapshot={snapshot} called={called} onClose={close} />}
      <Asking
        open={asked === "delete"}
        onClose={close}
        title={`Delete ${called}?`}
        explanation="It stays for another day, and a name keeps it until then. After that it is gone for good."
        action="Delete it"
        dangerous
        onConfirm={() => remove.mutate(snapshot.id)}
      />
      <Dialog
        open={remove.isError}
        onClose={remove.reset}
        title="It was not deleted"
        explanation={<ErrorText error={remove.error} />}
      >
        <div className="flex justify-end">
          <Button onClick={remove.reset}>Close</Button>
        </div>
      </Dialog>
    </>
  );
}
