import type { ReactNode } from "react";
import { ErrorText } from "../ui/ErrorText.tsx";
import { Notice } from "../ui/Notice.tsx";

type Props = { title: string; error: Error; children?: ReactNode };

/** Something that did not work, with what can be done. */
export function Problem({ title, error, children }: Props) {
  return (
    <div className="mt-2">
      <Notice tone="bad" title={title} actions={children}>
        <ErrorText error={error} />
      </Notice>
    </div>
  );
}
