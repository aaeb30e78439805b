import { mkdtempSync } from "node:fs";
import path from "node:path";
import { it } from "vitest";
import { Project } from "../../tools/cloud/project";
import { Cloud } from "../../tools/cloud/simulators";
import { describeChange } from "./change";
import { describeTeardown } from "./teardown";

const cloud = (await Cloud.find(process.env.TAIL_CLOUD ?? "")) as Cloud;
const project = Project.create(cloud.environment, process.env.TAIL_PROJECT ?? "");
project.setVariable("prod", "ticket_service_url", process.env.TAIL_BOOKING ?? "");
const scratch = mkdtempSync("/tmp/urr-tail-");
const step = (n: string, r: () => Promise<void>) => {
  it(n, r);
};
void path;
describeChange(() => project, step);
describeTeardown(() => ({ cloud, project, scratch }), step);
