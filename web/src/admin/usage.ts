import { size } from "../ui/time.ts";

type Usage = {
  logical_bytes: number;
  stored_bytes: number;
  shared_bytes: number;
  condemned_bytes: number;
};
export type Part = { label: string; bytes: number; tone: "logical" | "stored" | "shared" | "condemned" };
export type Bar = { label: string; explanation: string; parts: Part[] };

/** The bars of the chart: what there is as files, and what that takes in the store. */
export function usageBars({ logical_bytes: logical, stored_bytes: stored, shared_bytes: shared, condemned_bytes: condemned }: Usage): Bar[] {
  return [
    {
      label: "As files",
      explanation: "Every file of every snapshot, as if each were stored by itself",
      parts: [{ label: "Logical", bytes: logical, tone: "logical" }],
    },
    {
      label: "In the store",
      explanation: "What they take, and what they share with the templates",
      parts: [
        { label: "Stored", bytes: Math.max(0, stored - condemned), tone: "stored" },
        { label: "Going to be deleted", bytes: condemned, tone: "condemned" },
        { label: "Shared with templates", bytes: shared, tone: "shared" },
      ],
    },
  ];
}

/** How much less the store holds than there is as files. */
export function savingWords({ logical_bytes: logical, stored_bytes: stored }: Usage): string {
  if (logical === 0 || stored === 0) return `${size(logical)} of files, ${size(stored)} stored`;
  const share = 1 - stored / logical;
  if (share <= 0) return `${size(logical)} of files take ${size(stored)}: nothing is saved by sharing yet`;
  return `${size(logical)} of files take ${size(stored)}: ${(share * 100).toFixed(share > 0.99 ? 1 : 0)} % are saved`;
}
