import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useState } from "react";
import { ApiError } from "../api/client.ts";
import { downloadUrl, fileQuery } from "../api/files.ts";
import type { Place } from "../api/queries.ts";
import type { Sandbox } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { download } from "../ui/download.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { asUnedited, forgetBuffer, isUnsaved, keepBuffer, useBuffer } from "./buffers.ts";
import { Changed } from "./Changed.tsx";
import type { Goto } from "./Editor.tsx";
import { meeting } from "./meeting.ts";
import { nameOf } from "./paths.ts";
import { Unshown } from "./Unshown.tsx";
import { type Against, useOriginal } from "./useOriginal.ts";
import { useSaving } from "./useSaving.ts";

const Editor = lazy(async () => ({ default: (await import("./Editor.tsx")).Editor }));

type Props = {
  handle: string;
  place: Place;
  box: Sandbox;
  path: string;
  goto: Goto | null;
  onClose: () => void;
};

/** An open file: its text in an editor, how it stands to the one on disk, and saving it. */
export function EditorPane({ handle, place, box, path, goto, onClose }: Props) {
  const file = useQuery(fileQuery(handle, path));
  const buffer = useBuffer(handle, path);
  const save = useSaving(handle, path);
  const [against, setAgainst] = useState<Against | null>(null);
  const snapshot = box.last_save?.id ?? null;
  const disk = file.data;
  const original = useOriginal({ handle, place, path, disk, against, snapshot });
  const unsaved = buffer !== undefined && isUnsaved(buffer);
  const met = buffer && disk ? meeting(buffer.base, buffer.state.sliceDoc(), disk) : "same";
  const open = met === "conflict" || met === "gone";
  const saveError = save.error instanceof ApiError && save.error.status === 412 ? null : save.error;
  const { mutate: write, isPending: writing } = save;

  useEffect(() => {
    function onKeyDown(event: KeyboardEvent) {
      if (event.key.toLowerCase() !== "s" || event.altKey || event.shiftKey) return;
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      if (!open) write(undefined);
    }
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [open, write]);

  if (file.error && !disk) {
    return (
      <div className="space-y-4 p-6">
        <ErrorText error={file.error} />
        <Button onClick={() => void file.refetch()}>Try again</Button>
      </div>
    );
  }
  if (!disk) return <p className="p-6 text-muted">Opening {path}…</p>;
  if (disk.kind !== "text" && !(buffer && unsaved)) {
    return <Unshown handle={handle} path={path} file={disk} onClose={onClose} />;
  }

  return (
    <div className="flex h-full min-h-0 flex-col">
      <div className="flex items-center gap-1 border-b border-line py-1 pr-1.5 pl-4 text-sm">
        <span className="min-w-0 flex-1 truncate font-mono text-xs text-muted" title={path}>
          {path}
        </span>
        <output className={`shrink-0 text-xs ${unsaved ? "text-shell" : "text-muted"}`}>
          {writing ? "Saving…" : unsaved ? "Not saved" : save.isSuccess ? "Saved" : ""}
        </output>
        <Button
          look={unsaved ? "main" : "quiet"}
          size="small"
          className="ml-1"
          disabled={!unsaved || writing || open}
          title="Ctrl+S"
          onClick={() => write(undefined)}
        >
          <Icon name="save" className="size-4" /> Save
        </Button>
        <Menu label={`More on the open file ${nameOf(path)}`}>
          <MenuItem onSelect={() => setAgainst("commit")}>
            <Icon name="branch" className="size-4" /> Compare with the last commit
          </MenuItem>
          <MenuItem onSelect={() => setAgainst("snapshot")}>
            <Icon name="undo" className="size-4" /> Compare with the last snapshot
          </MenuItem>
          <MenuItem onSelect={() => download(downloadUrl(handle, path), nameOf(path))}>
            <Icon name="download" className="size-4" /> Download
          </MenuItem>
        </Menu>
      </div>
      {open && (
        <Changed
          gone={met === "gone"}
          onCompare={() => setAgainst("disk")}
          onTheirs={() => {
            setAgainst(null);
            if (met === "gone" || !buffer) {
              forgetBuffer(handle, path);
              onClose();
            } else keepBuffer(handle, path, asUnedited(buffer));
          }}
          onMine={() => {
            setAgainst(null);
            write(disk.kind === "text" ? disk.etag : null);
          }}
        />
      )}
      {saveError && (
        <div className="bg-bad-wash px-4 py-2 text-sm">
          <ErrorText error={saveError} />
        </div>
      )}
      {against && (
        <div className="flex items-center gap-3 bg-sea-wash py-1 pr-2 pl-4 text-sm text-sea">
          <output className="min-w-0 flex-1">{original.said}</output>
          <ErrorText error={original.error} />
          <Button look="quiet" size="small" onClick={() => setAgainst(null)}>
            Stop comparing
          </Button>
        </div>
      )}
      <div className="min-h-0 flex-1">
        <Suspense fallback={<p className="p-6 text-muted">Loading the editor…</p>}>
          <Editor
            key={path}
            handle={handle}
            path={path}
            disk={disk}
            met={met}
            original={original.text}
            goto={goto}
          />
        </Suspense>
      </div>
    </div>
  );
}
