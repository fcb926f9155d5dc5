import { useQuery } from "@tanstack/react-query";
import { Link, type LinkProps } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { agentsQuery, sandboxesQuery } from "../api/queries.ts";
import { byRecency } from "../home/recency.ts";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { Mark } from "../ui/Mark.tsx";
import { ThemeButton } from "../ui/ThemeButton.tsx";
import { AgentLinks } from "./AgentLinks.tsx";
import { useFrame } from "./frameContext.ts";

const RECENT = 8;

type Props = {
  /** Only its pictures are shown. */
  narrow: boolean;
  /** Make it narrow or wide; of one that lies over the page: close it. */
  onToggle: () => void;
  /** Something was chosen that leads elsewhere. */
  onLeave?: () => void;
};

/** The way to everything: home, the agents that are pinned and those that were used last. */
export function Sidebar({ narrow, onToggle, onLeave }: Props) {
  const { beside, openPalette } = useFrame();
  const { data: agents, error } = useQuery(agentsQuery);
  const { data: boxes, error: noBoxes } = useQuery(sandboxesQuery);
  const sorted = boxes || noBoxes ? byRecency(agents ?? [], boxes ?? []) : [];
  const pinned = sorted.filter(({ agent }) => agent.pinned);
  const recent = sorted.filter(({ agent }) => !agent.pinned).slice(0, RECENT);
  const size = beside ? (narrow ? "w-14" : "w-60") : "w-full";
  return (
    <nav aria-label="Limpet" className={`flex h-full shrink-0 flex-col border-r border-line bg-shore ${size}`}>
      <div className={`flex items-center gap-2 p-2.5 ${narrow ? "flex-col" : ""}`}>
        <Link to="/" onClick={onLeave} aria-label="Limpet, home" className="flex min-w-0 flex-1 items-center gap-2 rounded-full px-0.5">
          <Mark className="size-8 shrink-0" />
          {!narrow && <span className="font-display text-lg font-semibold tracking-tight">Limpet</span>}
        </Link>
        <button
          type="button"
          onClick={onToggle}
          aria-label={beside ? (narrow ? "Widen the sidebar" : "Narrow the sidebar") : "Close the menu"}
          title={beside ? (narrow ? "Widen the sidebar" : "Narrow the sidebar") : "Close"}
          aria-expanded={beside ? !narrow : undefined}
          className="grid size-9 shrink-0 place-items-center rounded-full text-muted hover:bg-sunken hover:text-ink focus-visible:rounded-full"
        >
          <Icon name={beside ? "panel" : "close"} className="size-4.5" />
        </button>
      </div>
      <div className="flex min-h-0 flex-1 flex-col gap-4 overflow-auto px-2 pb-2">
        <ul className="space-y-0.5">
          <li>
            <Place to="/" icon="home" label="Home" narrow={narrow} onLeave={onLeave} />
          </li>
          <li>
            <button
              type="button"
              onClick={() => {
                onLeave?.();
                openPalette();
              }}
              title="Find or do something"
              className={look(narrow)}
            >
              <Icon name="search" className="size-4.5" />
              <Label narrow={narrow}>Find or do</Label>
              {!narrow && <kbd className="ml-auto font-sans text-xs text-muted">{isMac() ? "⌘" : "Ctrl "}K</kbd>}
            </button>
          </li>
          <li>
            <Place to="/admin" icon="gauge" label="Admin" narrow={narrow} onLeave={onLeave} />
          </li>
        </ul>
        {!narrow && <AgentLinks title="Pinned" agents={pinned} onLeave={onLeave} />}
        {!narrow && <AgentLinks title="Recent" agents={recent} onLeave={onLeave} />}
        {!narrow && (error ?? noBoxes) && <p className="px-2.5 text-sm text-bad">Not all could be listed just now.</p>}
        {!narrow && agents?.length === 0 && (
          <p className="px-2.5 text-sm text-pretty text-muted">Agents that you make stand here.</p>
        )}
      </div>
      <div className={`flex border-t border-line p-2 ${narrow ? "justify-center" : ""}`}>
        <ThemeButton />
      </div>
    </nav>
  );
}

const look = (narrow: boolean) =>
  `flex h-9 w-full items-center gap-2.5 rounded-xl text-sm text-ink hover:bg-sunken aria-[current=page]:bg-sea-wash aria-[current=page]:text-sea ${
    narrow ? "justify-center" : "px-2.5"
  }`;

type PlaceProps = { to: LinkProps["to"]; icon: IconName; label: string; narrow: boolean; onLeave?: () => void };

function Place({ to, icon, label, narrow, onLeave }: PlaceProps) {
  return (
    <Link to={to} onClick={onLeave} title={label} activeOptions={{ exact: true }} className={look(narrow)}>
      <Icon name={icon} className="size-4.5" />
      <Label narrow={narrow}>{label}</Label>
    </Link>
  );
}

const Label = ({ narrow, children }: { narrow: boolean; children: ReactNode }) => (
  <span className={narrow ? "sr-only" : ""}>{children}</span>
);

const isMac = () => /Mac|iPhone|iPad/.test(navigator.userAgent);
