import path from "node:path";

/**
 * A file that somebody names, as an absolute path: beside them, not beside `package.json`. npm starts scripts in the checkout's folder,
 * the cdktf CLI starts Terraform in a stack's, and a name meant for another folder would be missing there, or be another file.
 * Source: npm, "run", `INIT_CWD`.
 */
export function givenFile(
  file: string,
  { INIT_CWD = process.cwd() }: Readonly<Record<string, string | undefined>> = process.env,
): string {
  return path.resolve(INIT_CWD, file);
}
