import { execFile } from "node:child_process";
import { promisify } from "node:util";

const INTERVAL_MILLISECONDS = 1000;

/** What a command and all that it started took. */
export interface Cost {
  readonly seconds: number;
  /** Most memory that all its processes held at once, in MiB. */
  readonly peakMib: number;
  /** The process that held the most, and how much. */
  readonly largest: { readonly name: string; readonly mib: number };
}

/** Looks once a second at the memory of a process and its descendants: what is over sooner counts as nothing. */
export class Meter {
  private readonly started = performance.now();
  private readonly timer: NodeJS.Timeout;
  private peakMib = 0;
  private largest = { name: "", mib: 0 };

  constructor(private readonly root: number) {
    this.timer = setInterval(() => void this.look().catch(() => {}), INTERVAL_MILLISECONDS);
  }

  /** Ends the looking; tells what was seen. */
  stop(): Cost {
    clearInterval(this.timer);
    const seconds = (performance.now() - this.started) / 1000;
    return { seconds, peakMib: this.peakMib, largest: this.largest };
  }

  private async look(): Promise<void> {
    const { stdout } = await promisify(execFile)("ps", ["-eo", "pid=,ppid=,rss=,comm="]);
    const processes = stdout.split("\n").flatMap((line) => {
      const [, pid, parent, kib, name = ""] = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
      return pid === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), mib: Number(kib) / 1024, name }];
    });
    // By parent and not by group: the cdktf CLI gives Terraform a terminal, and with it a session, of its own.
    const family = new Set([this.root]);
    for (const id of family) for (const { parent, pid } of processes) if (parent === id) family.add(pid);
    const own = processes.filter(({ pid }) => family.has(pid));
    this.peakMib = Math.max(
      this.peakMib,
      own.reduce((sum, { mib }) => sum + mib, 0),
    );
    for (const { mib, name } of own) if (mib > this.largest.mib) this.largest = { name, mib };
  }
}
