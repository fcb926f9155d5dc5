import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError } from "../api/client.ts";
import { readFile, writeFile } from "../api/files.ts";
import { insideChanged } from "../api/inside.ts";
import { inFolder } from "./paths.ts";

type Waiting = { path: string; file: File };

/** Puts files of the user's machine into a folder; those that are there already are asked about. */
export function useUploads(handle: string) {
  const client = useQueryClient();
  const [said, setSaid] = useState("");
  const [error, setError] = useState<Error | null>(null);
  const [inTheWay, setInTheWay] = useState<Waiting[]>([]);

  async function run(files: Waiting[], replace: boolean) {
    const there: Waiting[] = [];
    setError(null);
    try {
      for (const [index, one] of files.entries()) {
        setSaid(`Uploading ${index + 1} of ${files.length}: ${one.file.name}…`);
        try {
          const known = replace ? await readFile(handle, one.path) : null;
          await writeFile(handle, one.path, one.file, known && "etag" in known ? known.etag : null);
        } catch (problem) {
          if (!(problem instanceof ApiError && problem.status === 412)) throw problem;
          there.push(one);
        }
      }
      const done = files.length - there.length;
      setSaid(done > 0 ? `${done} ${done === 1 ? "file is" : "files are"} there.` : "");
    } catch (problem) {
      setSaid("");
      setError(problem as Error);
    }
    setInTheWay(there);
    await insideChanged(client, handle);
  }

  return {
    said,
    error,
    inTheWay,
    upload: (folder: string, files: File[]) =>
      void run(files.map((file) => ({ path: inFolder(folder, file.name), file })), false),
    replace: () => void run(inTheWay, true),
    leave: () => setInTheWay([]),
  };
}
