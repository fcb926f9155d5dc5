import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ChangeEvent, useRef, useState } from "react";
import { downloadUrl, writeFile } from "../api/files.ts";
import { insideChanged, ROOT, statusQuery, useDelete, useInside, useMakeFolder, useMove } from "../api/inside.ts";
import type { Place } from "../api/queries.ts";
import type { Sandbox } from "../api/types.ts";
import { letterOf } from "../changes/grouping.ts";
import { LossDialog } from "../inside/LossDialog.tsx";
import { Asking } from "../ui/Confirm.tsx";
import { download } from "../ui/download.ts";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { Menu, MenuItem } from "../ui/Menu.tsx";
import { FileTree } from "./FileTree.tsx";
import { NameDialog } from "./NameDialog.tsx";
import { withMoved } from "./openFiles.ts";
import { foldersOf, inFolder, isWithin, nameOf, parentOf } from "./paths.ts";
import { useKeptList } from "./useKeptList.ts";
import { useUploads } from "./useUploads.ts";

type Props = {
  handle: string;
  place: Place;
  box: Sandbox;
  shown: string | undefined;
  onShow: (path: string) => void;
  onMoved: (from: string, to: string) => void;
  onGone: (path: string) => void;
};

type Chosen = { path: string; folder: boolean };
type Asked = { what: "file" | "folder" | "move" | "delete"; at: string };

/** The tree of files, and what is done with them. */
export function FilesPanel({ handle, place, box, shown, onShow, onMoved, onGone }: Props) {
  const client = useQueryClient();
  const [open, setOpen] = useKeptList(`folders-${handle}`);
  const [chosen, setChosen] = useState<Chosen | null>(shown ? { path: shown, folder: false } : null);
  const [asked, setAsked] = useState<Asked | null>(null);
  const picker = useRef<HTMLInputElement>(null);
  const uploads = useUploads(handle);
  const { data: status } = useQuery({ ...statusQuery(handle), retry: false });
  const makeFolder = useMakeFolder(handle);
  const move = useMove(handle);
  const remove = useDelete(handle);
  const makeFile = useInside(handle, (path: string) => writeFile(handle, path, "", null));
  const marks = new Map(status?.files.map((file) => [file.path, letterOf(file)]));
  const folder = chosen ? (chosen.folder ? chosen.path : parentOf(chosen.path)) : ROOT;
  const adding = asked?.what === "folder" ? makeFolder : makeFile;

  function openFolders(paths: string[], opened: boolean) {
    const rest = open.filter((path) => !paths.includes(path));
    setOpen(opened ? [...rest, ...paths] : rest);
  }

  function ask(what: Asked["what"], at: string) {
    for (const one of [makeFile, makeFolder, move]) one.reset();
    setAsked({ what, at });
  }

  function name(said: string) {
    if (!asked) return;
    const done = () => setAsked(null);
    if (asked.what === "move") {
      const wanted = { from: asked.at, to: said };
      if (said === asked.at) return done();
      return move.mutate(wanted, {
        onSuccess: () => {
          onMoved(asked.at, said);
          setOpen(withMoved(open, asked.at, said));
          setChosen({ path: said, folder: chosen?.folder ?? false });
          done();
        },
      });
    }
    const path = inFolder(asked.at, said);
    adding.mutate(path, {
      onSuccess: () => {
        openFolders([...foldersOf(path), ...(asked.what === "folder" ? [path] : [])], true);
        setChosen({ path, folder: asked.what === "folder" });
        if (asked.what === "file") onShow(path);
        done();
      },
    });
  }

  function take({ currentTarget: input }: ChangeEvent<HTMLInputElement>) {
    uploads.upload(folder, [...(input.files ?? [])]);
    input.value = "";
  }

  return (
    <div className="flex h-full min-h-0 flex-col">
      <div className="flex items-center gap-0.5 px-2 py-1">
        <ToolButton icon="file" label="New file" onClick={() => ask("file", folder)} />
        <ToolButton icon="folder" label="New folder" onClick={() => ask("folder", folder)} />
        <ToolButton icon="upload" label="Upload files" onClick={() => picker.current?.click()} />
        <ToolButton icon="reload" label="List anew" onClick={() => void insideChanged(client, handle)} />
        <input ref={picker} type="file" multiple hidden aria-label="Files to upload" onChange={take} />
        {chosen && (
          <div className="ml-auto">
            <Menu label={`More on ${nameOf(chosen.path)}`}>
              <MenuItem onSelect={() => ask("move", chosen.path)}>
                <Icon name="edit" className="size-4" /> Rename or move…
              </MenuItem>
              <MenuItem
                onSelect={() =>
                  download(
                    downloadUrl(handle, chosen.path, chosen.folder ? "zip" : undefined),
                    `${nameOf(chosen.path)}${chosen.folder ? ".zip" : ""}`,
                  )
                }
              >
                <Icon name="download" className="size-4" /> {chosen.folder ? "Download as a zip" : "Download"}
              </MenuItem>
              <MenuItem onSelect={() => void navigator.clipboard.writeText(chosen.path)}>
                <Icon name="copy" className="size-4" /> Copy its path
              </MenuItem>
              <MenuItem dangerous onSelect={() => ask("delete", chosen.path)}>
                <Icon name="cross" className="size-4" /> Delete…
              </MenuItem>
            </Menu>
          </div>
        )}
      </div>
      <div className="space-y-2 px-3 text-sm empty:hidden">
        {uploads.said && <output className="block text-muted">{uploads.said}</output>}
        {(uploads.error ?? remove.error) && <ErrorText error={uploads.error ?? remove.error} />}
      </div>
      <div className="min-h-0 flex-1 overflow-auto">
        <FileTree
          handle={handle}
          open={new Set(open)}
          onOpenFolders={openFolders}
          chosen={chosen?.path ?? null}
          onChoose={(path, isFolder) => setChosen({ path, folder: isFolder })}
          shown={shown}
          onShow={onShow}
          onRename={(path) => ask("move", path)}
          onDelete={(path) => ask("delete", path)}
          marks={marks}
        />
      </div>
      {asked && asked.what !== "delete" && (
        <NameDialog
          kind={asked.what}
          at={asked.at}
          busy={move.isPending || adding.isPending}
          error={asked.what === "move" ? move.error : adding.error}
          onClose={() => setAsked(null)}
          onName={name}
        />
      )}
      {asked?.what === "delete" && (
        <LossDialog
          title={`Delete ${asked.at}?`}
          what="It goes from the sandbox, with all that is in it."
          action="Delete"
          place={place}
          box={box}
          onClose={() => setAsked(null)}
          onConfirm={() =>
            remove.mutate(asked.at, {
              onSuccess: () => {
                onGone(asked.at);
                setOpen(open.filter((path) => !isWithin(path, asked.at)));
                setChosen(null);
              },
            })
          }
        />
      )}
      <Asking
        open={uploads.inTheWay.length > 0}
        onClose={uploads.leave}
        title={uploads.inTheWay.length === 1 ? "A file of that name is there" : "Files of those names are there"}
        explanation={uploads.inTheWay.map(({ path }) => path).join(", ")}
        action="Replace"
        dangerous
        onConfirm={uploads.replace}
      />
    </div>
  );
}

function ToolButton({ icon, label, onClick }: { icon: IconName; label: string; onClick: () => void }) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      onClick={onClick}
      className="grid size-9 place-items-center rounded-full text-muted hover:bg-sunken hover:text-ink focus-visible:rounded-full"
    >
      <Icon name={icon} className="size-4.5" />
    </button>
  );
}
