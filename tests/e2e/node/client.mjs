// Discovery, token, search, read and $everything by fhir-kit-client, as its users write it. One JSON object of what was seen.
// Arguments: base URL, private JWK file, and a file with {claims, number}. The NHS number is on no command line.
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import Client from "fhir-kit-client";

const [base, keyFile, askFile] = process.argv.slice(2);
const jwk = JSON.parse(readFileSync(keyFile, "utf8"));
const { claims, number } = JSON.parse(readFileSync(askFile, "utf8"));
const identifier = `https://fhir.nhs.uk/Id/nhs-number|${number}`;

const client = new Client({ baseUrl: `${base}/fhir` });
const { tokenUrl } = await client.smartAuthMetadata();
const statement = await client.capabilityStatement();

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const now = Math.floor(Date.now() / 1000);
const head = part({ alg: jwk.alg, kid: jwk.kid, typ: "JWT" });
const body = part({ ...claims, aud: tokenUrl.href, iat: now, exp: now + 240, jti: randomUUID() });
const signature = sign("sha384", Buffer.from(`${head}.${body}`), {
  key: createPrivateKey({ key: jwk, format: "jwk" }),
  dsaEncoding: "ieee-p1363",
});
const exchanged = await fetch(tokenUrl, {
  method: "POST",
  body: new URLSearchParams({
    grant_type: "client_credentials",
    scope: "system/*.rs",
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: `${head}.${body}.${signature.toString("base64url")}`,
  }),
});
const { access_token } = await exchanged.json();
client.bearerToken = access_token;

const patients = await client.search({ resourceType: "Patient", searchParams: { identifier }, options: { postSearch: true } });
const patient = patients.entry[0].resource;
const again = await client.read({ resourceType: "Patient", id: patient.id });
const jabs = await client.search({ resourceType: "Immunization", searchParams: { patient: patient.id } });
let page = await client.operation({ name: "everything", resourceType: "Patient", id: patient.id, method: "GET", input: { _count: 8 } });
const outcome = page.entry.find((entry) => entry.search.mode === "outcome").resource;
const all = [];
while (page) {
  all.push(...page.entry.filter((entry) => entry.search.mode === "match").map((entry) => entry.resource.id));
  page = await client.nextPage({ bundle: page });
}
let refused = null;
try {
  await client.read({ resourceType: "Patient", id: "nobody" });
} catch (error) {
  refused = { status: error.response.status, code: error.response.data.issue[0].code };
}
const states = Object.fromEntries(
  outcome.issue
    .map((issue) => (issue.details.coding ?? []).map((coding) => coding.code))
    .filter((codes) => codes.length === 2),
);
console.log(
  JSON.stringify({
    token_status: exchanged.status,
    fhir: statement.fhirVersion,
    same: JSON.stringify(again) === JSON.stringify(patient),
    patient: patient.id,
    immunizations: jabs.entry.filter((entry) => entry.search.mode === "match").length,
    all,
    states,
    refused,
  }),
);
