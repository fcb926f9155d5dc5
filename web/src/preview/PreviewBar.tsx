import { type FormEvent, useState } from "react";
import { buttonLook } from "../ui/Button.tsx";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { wayTo } from "./addresses.ts";
import { ShareDialog } from "./ShareDialog.tsx";

export const WIDTHS = { desktop: "100%", tablet: "834px", phone: "390px" };
export type Width = keyof typeof WIDTHS;
const NAMES = Object.keys(WIDTHS) as Width[];

type Props = {
  handle: string;
  url: string;
  isPrivate: boolean;
  path: string;
  width: Width;
  logsOpen: boolean;
  onWidth: (width: Width) => void;
  onReload: () => void;
  onGo: (path: string) => void;
  onLogs: () => void;
};

/** Above the page: reload, where it is, how wide it is, and the way out into a tab. */
export function PreviewBar({ handle, url, isPrivate, path, width, logsOpen, onWidth, onReload, onGo, onLogs }: Props) {
  const [sharing, setSharing] = useState(false);
  const address = new URL(path, url).href;
  return (
    <div className="flex items-center gap-0.5 border-b border-line px-2 py-1.5">
      <IconButton icon="reload" label="Reload the preview" onClick={onReload} />
      <Address key={path} path={path} onGo={onGo} />
      <fieldset aria-label="Width" className="hidden md:flex">
        {NAMES.map((name) => (
          <IconButton
            key={name}
            icon={name}
            label={`As on a ${name}`}
            pressed={width === name}
            onClick={() => onWidth(name)}
          />
        ))}
      </fieldset>
      <IconButton icon="logs" label="Logs below the preview" pressed={logsOpen} onClick={onLogs} />
      <IconButton icon="share" label="Share the preview" onClick={() => setSharing(true)} />
      <a
        href={wayTo(address, isPrivate)}
        target="_blank"
        rel="noreferrer"
        aria-label="Open the preview in a tab of its own"
        title="Open in a tab"
        className={buttonLook("quiet", "icon")}
      >
        <Icon name="open" className="size-4.5" />
      </a>
      {sharing && (
        <ShareDialog
          handle={handle}
          address={address}
          onPutOut={onReload}
          onClose={() => setSharing(false)}
        />
      )}
    </div>
  );
}

function Address({ path, onGo }: { path: string; onGo: (path: string) => void }) {
  const [typed, setTyped] = useState(path);
  function go(event: FormEvent) {
    event.preventDefault();
    onGo(typed.startsWith("/") ? typed : `/${typed}`);
  }
  return (
    <form onSubmit={go} className="min-w-0 flex-1">
      <input
        aria-label="Page"
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onBlur={() => setTyped(path)}
        spellCheck={false}
        autoComplete="off"
        className="h-8 w-full rounded-full bg-sunken px-4 font-mono text-xs text-muted focus:text-ink focus-visible:rounded-full"
      />
    </form>
  );
}

type IconButtonProps = { icon: IconName; label: string; pressed?: boolean; onClick: () => void };

function IconButton({ icon, label, pressed, onClick }: IconButtonProps) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      onClick={onClick}
      className={`${buttonLook("quiet", "icon")} ${pressed ? "bg-sea-wash text-sea" : ""}`}
    >
      <Icon name={icon} className="size-4.5" />
    </button>
  );
}
