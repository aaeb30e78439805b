export { toAnsi } from "./ansi";
export {
  markerOf,
  type Rendered,
  type RenderOptions,
  readMarker,
  readMemory,
  renderComment,
  renderFailure,
} from "./comment";
export {
  type Comparison,
  compareStacks,
  deltaOf,
  inDependencyOrder,
  type Outline,
  outlineOf,
  type Remembered,
  readOutline,
  remember,
  unpackMemory,
} from "./compare";
export { type Asset, Configuration, type SynthStack } from "./configuration";
export { BODY_BUDGET } from "./layout";
export { countsOf, type Item, isEmptyReport, previewOf, type Report, reportOf } from "./model";
export { type Plan, PlanFormatError, parsePlan, readPlan } from "./plan";
export { Redactor } from "./redact";
