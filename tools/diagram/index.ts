import { readFileSync, writeFileSync } from "node:fs";
import { buildApp } from "../../main";
import { drawProduction } from "./diagram";

const README = "README.md";

/** `npm run diagram`: writes the picture of production into the README, from the synthesized stack. */
const prod = buildApp()
  .render()
  .find(({ stack }) => stack.node.id === "prod");
if (!prod) throw new Error("there is no stack prod");
writeFileSync(
  README,
  readFileSync(README, "utf8").replace(
    /```mermaid\n.*?```/s,
    () => `\`\`\`mermaid\n${drawProduction(prod.flat)}\`\`\``,
  ),
);
