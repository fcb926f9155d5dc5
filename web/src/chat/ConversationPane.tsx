import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef } from "react";
import { ApiError } from "../api/client.ts";
import { modelsQuery } from "../api/models.ts";
import type { Thread } from "../api/threadTypes.ts";
import type { Agent } from "../api/types.ts";
import { Button } from "../ui/Button.tsx";
import { ErrorText } from "../ui/ErrorText.tsx";
import { ChatHeader } from "./ChatHeader.tsx";
import { Composer } from "./Composer.tsx";
import { EmptyChat } from "./EmptyChat.tsx";
import { HarnessMenu } from "./HarnessMenu.tsx";
import { Lost } from "./Lost.tsx";
import { ModelMenu } from "./ModelMenu.tsx";
import { Spoken } from "./Spoken.tsx";
import type { TurnActs } from "./TurnEnd.tsx";
import { TurnList } from "./TurnList.tsx";
import { useDraft } from "./useDraft.ts";
import { useTalk } from "./useTalk.ts";

type Props = {
  agent: Agent;
  thread: string;
  /** The thread as the list has it; unknown when it is not there, or too far down. */
  listed: Thread | undefined;
  /** The server has it; else its first message makes it. */
  exists: boolean;
  /** Whether there are others to go to. */
  others: boolean;
  onList: () => void;
  /** A text that is to stand in the box, until it was taken there. */
  wanted: string | null;
  onTaken: () => void;
  onBegun: (thread: Thread) => void;
  onNew: () => void;
  onModels: () => void;
};

/** One conversation: what was said and done, and the box to say more. */
export function ConversationPane(props: Props) {
  const { agent, thread: id, listed, exists, onBegun, onNew, onModels } = props;
  const { data: models } = useQuery(modelsQuery);
  const box = useRef<HTMLTextAreaElement>(null);
  const scroll = useRef<HTMLElement>(null);
  const [draft, setDraft] = useDraft(`${agent.id} ${exists ? id : agent.default_branch}`);
  // What was refused is not lost: it stands in the box again, before what came since.
  const onRefused = useCallback(
    (text: string) => setDraft((now) => (now ? `${text}\n${now}` : text)),
    [setDraft],
  );
  const talk = useTalk({ agent, id, listed, exists, onBegun, onRefused });
  const { thread, turns, running, mayWrite, send, stop, undo } = talk;

  const reuse = useCallback(
    (text: string) => {
      setDraft(text);
      box.current?.focus();
    },
    [setDraft],
  );
  const { wanted, onTaken } = props;
  useEffect(() => {
    if (wanted === null) return;
    setDraft((now) => (now === "" || now.endsWith(wanted) ? wanted : `${now.trimEnd()}\n\n${wanted}`));
    box.current?.focus();
    onTaken();
  }, [wanted, onTaken, setDraft]);

  const { mutate: undoIt } = undo;
  const acts: TurnActs = useMemo(
    () => ({ thread: id, mayWrite, busy: running, say: send, reuse, undo: undoIt, models: onModels }),
    [id, mayWrite, running, send, reuse, undoIt, onModels],
  );

  const lost = talk.gone || talk.refused !== null;
  // An agent of one's own may have a model of its own.
  const noModel = models?.length === 0 && talk.choice.harness !== "acp";
  const keyMissing = talk.error instanceof ApiError && talk.error.code === "no_model";
  return (
    <>
      <ChatHeader
        thread={thread}
        others={props.others}
        onList={props.onList}
        onNew={onNew}
        onModels={onModels}
        onDeleted={onNew}
      />
      {lost ? (
        <Lost gone={talk.gone} refused={talk.refused} onNew={onNew} />
      ) : turns.length > 0 ? (
        <TurnList ref={scroll} turns={turns} undone={talk.undone} acts={acts} />
      ) : exists && !talk.caughtUp ? (
        <p className="grid min-h-0 flex-1 place-items-center p-6 text-muted">Opening the conversation…</p>
      ) : (
        <EmptyChat noModel={noModel} onExample={reuse} onModels={onModels} />
      )}
      <Spoken turns={turns} live={talk.caughtUp} />
      {!lost && (
        <div className="mx-auto w-full max-w-3xl space-y-2 px-3 pb-3">
          <Meanwhile
            away={exists && !talk.connected && talk.opened > 0}
            undoing={undo.isPending}
          />
          {talk.error && (
            <div className="space-y-2 px-2">
              <ErrorText error={talk.error} />
              {keyMissing && <Button onClick={onModels}>Add a model key</Button>}
            </div>
          )}
          {mayWrite ? (
            <Composer
              box={box}
              text={draft}
              onText={setDraft}
              onSend={() => {
                setDraft("");
                send(draft.trim());
              }}
              running={running}
              queued={turns.filter(({ state }) => state === "queued").length}
              onStop={stop.mutate}
              stopping={stop.isPending}
              lastSaid={turns.at(-1)?.text}
              onLeave={() => (scroll.current ? scroll.current.focus() : box.current?.blur())}
            >
              <HarnessMenu
                agent={agent}
                chosen={talk.choice.harness}
                onHarness={(harness) => talk.choose({ harness })}
              />
              <ModelMenu
                chosen={talk.choice.model}
                onModel={(model) => talk.choose({ model })}
                onModels={onModels}
              />
            </Composer>
          ) : (
            <p className="rounded-2xl border border-line px-4 py-3 text-sm text-pretty text-muted">
              Only {thread?.created_by} writes here. Fork a turn to go on from it in a conversation of
              your own.
            </p>
          )}
        </div>
      )}
    </>
  );
}

type MeanwhileProps = { away: boolean; undoing: boolean };

/** What goes on besides, in a line. */
function Meanwhile({ away, undoing }: MeanwhileProps) {
  const words = away
    ? "Reconnecting… what goes on there goes on."
    : undoing
      ? "Bringing the files back…"
      : null;
  return words && <output className={`block px-2 text-sm ${away ? "text-shell" : "text-muted"}`}>{words}</output>;
}
