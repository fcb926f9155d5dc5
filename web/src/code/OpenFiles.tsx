import { Icon } from "../ui/Icon.tsx";
import { folderWords, nameOf } from "./paths.ts";

type Props = {
  files: string[];
  shown: string | undefined;
  unsaved: string[];
  onShow: (path: string) => void;
  onClose: (path: string) => void;
};

/** The files that stand open, one of them shown. */
export function OpenFiles({ files, shown, unsaved, onShow, onClose }: Props) {
  const names = files.map(nameOf);
  return (
    <nav aria-label="Open files" className="min-w-0 flex-1 overflow-x-auto">
      <ul className="flex w-max gap-0.5 px-1.5 py-1">
        {files.map((path) => {
          const name = nameOf(path);
          const twin = names.filter((other) => other === name).length > 1;
          const changed = unsaved.includes(path);
          return (
            <li
              key={path}
              className={`flex items-center rounded-lg text-sm ${
                path === shown ? "bg-sea-wash text-sea" : "text-muted hover:bg-sunken hover:text-ink"
              }`}
            >
              <button
                type="button"
                title={path}
                aria-current={path === shown ? "page" : undefined}
                onClick={() => onShow(path)}
                className="h-8 max-w-52 truncate rounded-lg pl-3 pr-1 focus-visible:-outline-offset-2"
              >
                {name}
                {twin && <span className="ml-1.5 text-xs">{folderWords(path)}</span>}
                {changed && <span className="sr-only">(not saved)</span>}
              </button>
              <button
                type="button"
                aria-label={`Close ${path}`}
                title="Close"
                onClick={() => onClose(path)}
                className="group grid size-7 place-items-center rounded-lg focus-visible:-outline-offset-2"
              >
                {changed && (
                  <span aria-hidden="true" className="size-2 rounded-full bg-shell group-hover:hidden group-focus-visible:hidden" />
                )}
                <Icon
                  name="close"
                  className={`size-3.5 ${changed ? "hidden group-hover:block group-focus-visible:block" : ""}`}
                />
              </button>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}
