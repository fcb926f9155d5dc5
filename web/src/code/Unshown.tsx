import { useEffect, useRef } from "react";
import { downloadUrl, MAX_EDITED_BYTES } from "../api/files.ts";
import type { FileOnDisk } from "../api/insideTypes.ts";
import { Button } from "../ui/Button.tsx";
import { download } from "../ui/download.ts";
import { Icon } from "../ui/Icon.tsx";
import { size } from "../ui/time.ts";
import { nameOf } from "./paths.ts";

type Props = { handle: string; path: string; file: FileOnDisk; onClose: () => void };

/** What is no text to edit: an image is shown, of anything else it is said why not. */
export function Unshown({ handle, path, file, onClose }: Props) {
  const there = file.kind !== "missing" && file.kind !== "folder";
  return (
    <div className="grid h-full place-items-center overflow-auto p-6 text-center">
      <div className="max-w-md space-y-4">
        {file.kind === "image" && <Picture bytes={file.bytes} name={nameOf(path)} />}
        <h3 className="font-display text-xl font-semibold text-balance break-words">{nameOf(path)}</h3>
        <p className="leading-relaxed text-pretty text-muted">{reasonOf(file)}</p>
        <div className="flex justify-center gap-2">
          {there && (
            <Button onClick={() => download(downloadUrl(handle, path), nameOf(path))}>
              <Icon name="download" className="size-4" /> Download
            </Button>
          )}
          <Button look="quiet" onClick={onClose}>
            Close
          </Button>
        </div>
      </div>
    </div>
  );
}

function reasonOf(file: FileOnDisk): string {
  switch (file.kind) {
    case "missing":
      return "It is not there any more: it was deleted or moved.";
    case "folder":
      return "It is a folder.";
    case "image":
      return `An image of ${size(file.size)}.`;
    case "big":
      return `It has ${size(file.size)}, which is too much to edit here: ${size(MAX_EDITED_BYTES)} is the most. A terminal can.`;
    default:
      return `It is no text: ${size(file.size)} of something else.`;
  }
}

function Picture({ bytes, name }: { bytes: Blob; name: string }) {
  const picture = useRef<HTMLImageElement>(null);
  useEffect(() => {
    const url = URL.createObjectURL(bytes);
    if (picture.current) picture.current.src = url;
    return () => URL.revokeObjectURL(url);
  }, [bytes]);
  return <img ref={picture} alt={name} className="mx-auto max-h-[50vh] max-w-full rounded-xl border border-line" />;
}
