/** What {@link bundle} makes. */
export interface Bundle {
  /** A function of require, module, __dirname and __filename, as text. */
  readonly code: string;
  /** The project's own files that went in, by path from the root. */
  readonly sources: readonly (readonly [string, Buffer])[];
}

export function bundle(root: string, alias?: Readonly<Record<string, string>>): Promise<Bundle>;
