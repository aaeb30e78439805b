#!/usr/bin/env node
// What TERRAFORM_BINARY_NAME names: Terraform, but `apply` and `destroy` go through the guard. Plain JavaScript, because the cdktf
// CLI starts Terraform many times and only those two are worth loading a compiler for.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const args = process.argv.slice(2);
const guarded = ["apply", "destroy"].includes(args.find((argument) => !argument.startsWith("-")) ?? "");
const [command, ...commandArgs] = guarded
  ? [
      process.execPath,
      "--import",
      import.meta.resolve("tsx"),
      fileURLToPath(new URL("terraform.ts", import.meta.url)),
      ...args,
    ]
  : ["terraform", ...args];

const child = spawn(command, commandArgs, { stdio: "inherit" });
// Terraform gets the terminal's signals itself and ends in order; this only waits for it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(signal, () => signal !== "SIGINT" && child.kill("SIGTERM"));
child.on("error", (error) => {
  process.stderr.write(`terraform cannot be started: ${error.message}\n`);
  process.exit(127);
});
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 143)));
