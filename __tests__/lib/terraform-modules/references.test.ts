import { describe, expect, it } from "vitest";
import { HclSyntaxError } from "../../../lib/terraform-modules/lexer";
import {
  formatSteps,
  mentionsOfExpression,
  mentionsOfTemplate,
  parseAddress,
  quote,
  unquote,
  unwrapTemplate,
} from "../../../lib/terraform-modules/references";

/** References as text, a guarded one with a question mark behind it. */
function found(template: string): string[] {
  return mentionsOfTemplate(template).traversals.map(
    ({ root, steps, guarded }) => `${root}${formatSteps(steps)}${guarded ? "?" : ""}`,
  );
}

describe("references in templates", () => {
  const cases: readonly [name: string, template: string, references: readonly string[]][] = [
    ["plain text that looks like a reference is text", "aws_vpc.main.id", []],
    ["one interpolation", "${aws_vpc.main.id}", ["aws_vpc.main.id"]],
    ["text around interpolations", "a-${aws_vpc.main.id}-b/${var.x}", ["aws_vpc.main.id", "var.x"]],
    ["an escaped interpolation is text", "$${aws_vpc.main.id}", []],
    ["an escaped directive is text", "%%{ if aws_vpc.main.id }", []],
    ["a dollar before an escaped interpolation", "$$${aws_vpc.main.id}", []],
    ["a lone dollar before an interpolation", "$ ${aws_vpc.main.id}", ["aws_vpc.main.id"]],
    ["a policy variable beside a reference", "$${aws:username}/${aws_vpc.main.arn}", ["aws_vpc.main.arn"]],
    ["strip markers", "${~ aws_vpc.main.id ~}", ["aws_vpc.main.id"]],
    ["nested functions", '${jsonencode({a = join(",", [aws_a.b.c, lower(aws_d.e.f)])})}', ["aws_a.b.c", "aws_d.e.f"]],
    ["a template within a string within an expression", '${upper("x-${aws_a.b["k"].c}-y")}', ['aws_a.b["k"].c']],
    ["templates three deep", '${f("${g("${aws_a.b.c}")}")}', ["aws_a.b.c"]],
    ["an escaped template within a string", '${f("$${aws_a.b.c}", aws_d.e.f)}', ["aws_d.e.f"]],
    ["a string that looks like a reference", '${f("aws_a.b.c")}', []],
    ["an escaped quote within a string", '${f("\\"${aws_a.b.c}\\"")}', ["aws_a.b.c"]],
    ["a brace within a string", '${f("}", aws_a.b.c)}', ["aws_a.b.c"]],
    ["data sources", "${data.aws_region.current.name}", ["data.aws_region.current.name"]],
    ["numeric and text indices", '${aws_a.b[0].c["k/x"].d}', ['aws_a.b[0].c["k/x"].d']],
    ["legacy indices", "${aws_a.b.0.c}", ["aws_a.b[0].c"]],
    ["two legacy indices, which read as one number", "${aws_a.b.0.1.c}", ["aws_a.b[0][1].c"]],
    ["a full splat ends the static part", "${aws_a.b[*].id}", ["aws_a.b"]],
    ["a legacy splat ends the static part", "${aws_a.b.*.id}", ["aws_a.b"]],
    ["a splat after attributes", "${aws_a.b.subnets[*].id}", ["aws_a.b.subnets"]],
    ["a computed index ends it and is read", "${aws_a.b[var.i].c}", ["aws_a.b", "var.i"]],
    ["an index that is a template", '${aws_a.b["k-${var.i}"].c}', ["aws_a.b", "var.i"]],
    ["an index after a splat", "${aws_a.b[*].c[var.i]}", ["aws_a.b", "var.i"]],
    ["count.index", "${aws_a.b[count.index].c}", ["aws_a.b", "count.index"]],
    ["operators", "${aws_a.b.c + -aws_d.e.f * 2 >= 4}", ["aws_a.b.c", "aws_d.e.f"]],
    ["a dash is part of a name", "${aws_a.b-c.d}", ["aws_a.b-c.d"]],
    ["what && guards", "${var.x && aws_a.b.c}", ["var.x", "aws_a.b.c?"]],
    ["branches of a condition", "${var.x ? aws_a.b[0].c : aws_d.e.f}", ["var.x", "aws_a.b[0].c?", "aws_d.e.f?"]],
    ["try and can", "${try(aws_a.b[0].c, null)}${can(aws_d.e.f)}", ["aws_a.b[0].c?", "aws_d.e.f?"]],
    ["an attribute of a call", "${one(aws_a.b).c[aws_d.e.f]}", ["aws_a.b", "aws_d.e.f"]],
    ["an argument list that is expanded", "${merge(aws_a.b.c...)}", ["aws_a.b.c"]],
    ["keys of objects are not references", "${{aws_a = aws_b.c.d, local : var.x}}", ["aws_b.c.d", "var.x"]],
    ["keys in parentheses are", "${{(aws_a.b.c) = 1}}", ["aws_a.b.c"]],
    ["keys that are templates are", '${{"${aws_a.b.c}" = 1}}', ["aws_a.b.c"]],
    ["items of an object on lines of their own", "${{\n a = aws_a.b.c\n d = aws_d.e.f\n}}", ["aws_a.b.c", "aws_d.e.f"]],
    ["newlines in parentheses", "${(\n aws_a.b.c\n + aws_d\n .e.f)}", ["aws_a.b.c", "aws_d.e.f"]],
    ["loops bind their names", "${[for x in aws_a.b : x.id if x.y != var.z]}", ["aws_a.b", "var.z?"]],
    [
      "loops that make objects",
      "${{ for k, v in local.m : k => merge(v, aws_a.b.c)... if v.on }}",
      ["local.m", "aws_a.b.c?"],
    ],
    ["a loop's name hides a root", "${[for local in xs.y : local.z]}${local.z}", ["xs.y", "local.z"]],
    ["a loop's collection is not in its scope", "${[for aws_a in aws_a.b : aws_a.c]}", ["aws_a.b"]],
    ["directives", "%{ if var.x }${aws_a.b.c}%{ else }${aws_d.e.f}%{ endif }", ["var.x", "aws_a.b.c?", "aws_d.e.f?"]],
    ["a loop directive binds until its end", "%{ for x in aws_a.b ~}${x.id}%{ endfor }${x.id}", ["aws_a.b", "x.id"]],
    ["heredocs", "${jsonencode(<<EOT\nid: ${aws_a.b.c} $${aws_d.e.f}\nEOT\n)}", ["aws_a.b.c"]],
    ["indented heredocs", '${f(<<-EOT\n  "${aws_a.b.c}" EOT\n  EOT\n, aws_d.e.f)}', ["aws_a.b.c", "aws_d.e.f"]],
    ["functions of providers are not references", "${provider::aws::arn_parse(aws_a.b.arn).account}", ["aws_a.b.arn"]],
    ["keywords are not references", "${true ? null : false}", []],
    ["comments", "${aws_a.b.c /* aws_x.y.z */}", ["aws_a.b.c"]],
    ["several lines of text", 'line ${aws_a.b.c}\n"quoted" \\ line ${aws_d.e.f}\n', ["aws_a.b.c", "aws_d.e.f"]],
    ["characters beyond the basic plane", "🎫 ${aws_a.b.c} 한글 ${aws_d.e.f}", ["aws_a.b.c", "aws_d.e.f"]],
    ["a conditional with objects and lists", "${var.x ? { a = [1] } : {}}", ["var.x"]],
    ["exponents", "${1.5e3 * aws_a.b.c}", ["aws_a.b.c"]],
  ];

  it.each(cases)("%s", (_name, template, references) => {
    expect(found(template)).toEqual(references);
  });

  it.each(
    cases.filter(([, , references]) => references.length > 0),
  )("places point at the reference itself: %s", (_name, template) => {
    for (const { root, start, ends } of mentionsOfTemplate(template).traversals) {
      expect(template.slice(start, ends[0])).toBe(root);
      expect([...ends]).toEqual([...ends].sort((a, b) => a - b));
    }
  });

  it("names the providers whose functions are called", () => {
    expect(mentionsOfTemplate('${provider::aws::arn_parse("x")}').providerFunctions).toEqual(["aws"]);
  });

  it.each([
    ["an interpolation that is not closed", "${aws_a.b.c"],
    ["an empty interpolation", "${}"],
    ["two expressions", "${a b}"],
    ["a string that is not closed", '${f("x)}'],
    ["a parenthesis that is not closed", "${f(x}"],
    ["a policy variable that is not escaped", "${aws:username}"],
    ["a directive that is not ended", "%{ if var.x }a"],
    ["an end without a beginning", "%{ endfor }"],
    ["a heredoc that is not closed", "${<<EOT\nx}"],
    ["a character that has no meaning", "${a ; b}"],
  ])("fails on %s", (_name, template) => {
    expect(() => mentionsOfTemplate(template)).toThrow(HclSyntaxError);
  });

  it("fails with the place", () => {
    expect(() => mentionsOfTemplate("arn:${aws:username}")).toThrow(
      'unexpected ":" at character 10 of "arn:${aws:username}"',
    );
  });
});

describe("addresses", () => {
  it.each([
    ["aws_vpc.main", "aws_vpc.main"],
    ["${aws_vpc.main}", "aws_vpc.main"],
    ["data.aws_region.current", "data.aws_region.current"],
    ['module.a["k"].aws_vpc.main[0]', 'module.a["k"].aws_vpc.main[0]'],
  ])("reads %s", (text, address) => {
    const parsed = parseAddress(text);
    expect(parsed && parsed.root + formatSteps(parsed.steps)).toBe(address);
  });

  it.each([
    "aws_vpc.main + 1",
    "f(aws_vpc.main)",
    "aws_vpc.main[count.index]",
    "",
    "${a}${b}",
    "not an address",
  ])("does not take %j for one", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it("reads expressions without a template", () => {
    expect(mentionsOfExpression("aws_vpc.main[each.key].id").traversals.map(({ root }) => root)).toEqual([
      "aws_vpc",
      "each",
    ]);
  });
});

describe("strings that are one interpolation", () => {
  it.each([
    ["${a.b}", "a.b"],
    ["${~ a.b ~}", "a.b"],
    ['${f("${x}")}', 'f("${x}")'],
    ["${ {} }", "{}"],
    ["${a}${b}", undefined],
    ["${a} ${b}", undefined],
    ["x${a}", undefined],
    ["$${a}", undefined],
    ["${a}%{ if b }${c}%{ endif }", undefined],
  ])("%s", (text, expression) => {
    expect(unwrapTemplate(text)).toBe(expression);
  });
});

describe("quoting", () => {
  it.each([
    ['a "b" \\ c', '"a \\"b\\" \\\\ c"'],
    ["line\nline\ttab\r", '"line\\nline\\ttab\\r"'],
    ["${a} %{b} $x", '"$${a} %%{b} $x"'],
    ["\u0001", '"\\u0001"'],
  ])("%j is written %s and read back", (text, quoted) => {
    expect(quote(text)).toBe(quoted);
    expect(unquote(quoted.slice(1, -1))).toBe(text);
  });
});
