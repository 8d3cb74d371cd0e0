// Calls @azure/batch with every option an operation has, and looks at all that comes back.
//
// The first word of the command line is the service's ready file, the second a folder to write in,
// the third a container's URL; LOTE_CLIENT is the folder that the client is installed in.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const root = process.env.LOTE_CLIENT;
const library = createRequire(path.join(root, "index.js"))("@azure/batch");
const mappers = library.BatchServiceMappers;
const ready = JSON.parse(fs.readFileSync(process.argv[2], "utf8")).batch;
const credentials = new library.BatchSharedKeyCredentials(ready.account, ready.key);
const client = new library.BatchServiceClient(credentials, ready.endpoint, {
  noRetryPolicy: true,
});
export const logsUrl = process.argv[4];
export const LONG_AGO = new Date("2020-01-01T00:00:00Z");
export const LATER = new Date("2040-01-01T00:00:00Z");
const STALE = "0x8D0000000000000";
const WITHIN_MS = 60000;

const errors = {};
const given = {};

// A step that calls these; what goes wrong in it is written down, and the next goes on.
export async function of(operations, step) {
  let error = null;
  try {
    await step();
  } catch (failure) {
    error = failure.stack ?? String(failure);
  }
  for (const name of operations.split(" ")) errors[name] = errors[name] || error;
}

// What `look` finds, as soon as it finds anything true.
export async function until(look) {
  const deadline = Date.now() + WITHIN_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < deadline, `not within ${WITHIN_MS} ms, at last: ${found}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

function optionsName(operation) {
  const [group, name] = operation.split(".");
  return `${group}${name[0].toUpperCase()}${name.slice(1)}Options`;
}

// The options that the client declares for an operation.
const declared = fs.readFileSync(
  path.join(root, "node_modules/@azure/batch/types/src/models/index.d.ts"),
  "utf8",
);
function knownOptions(operation) {
  const name = optionsName(operation);
  const text = `export interface ${name[0].toUpperCase()}${name.slice(1)} {`;
  const start = declared.indexOf(text);
  assert.ok(start >= 0, `${name} is not declared`);
  const body = declared.slice(start, declared.indexOf("\n}", start));
  return [...body.matchAll(/^ {4}(\w+)\?:/gm)].map((found) => found[1]);
}

// Call an operation with its usual options and these. `extra` are the parameters beside options.
export async function call(operation, args = [], options = {}, extra = {}) {
  const [group, name] = operation.split(".");
  const clientRequestId = randomUUID();
  const usual = { timeout: 30, clientRequestId, returnClientRequestId: true, ocpDate: new Date() };
  const known = knownOptions(operation);
  const filled = { ...usual, ...options };
  for (const key of Object.keys(filled)) assert.ok(known.includes(key), `${operation}: ${key}`);
  given[operation] = new Set([...(given[operation] ?? []), ...Object.keys(filled)]);
  const found = await client[group][name](...args, {
    ...extra,
    [optionsName(operation)]: filled,
  });
  const headers = found._response.headers;
  assert.ok(headers.get("request-id"), operation);
  assert.equal(headers.get("client-request-id"), clientRequestId, operation);
  return found;
}

// The answer as this model, all of whose members have the types that the client declares.
export async function get(model, operation, ...words) {
  const found = await call(operation, ...words);
  check(found, model);
  return found;
}

// All items of a list, page by page, each as this model.
export async function list(model, operation, ...words) {
  const [group, name] = operation.split(".");
  let page = await call(operation, ...words);
  const found = [...page];
  while (page.odatanextLink) {
    page = await client[group][`${name}Next`](page.odatanextLink);
    found.push(...page);
  }
  for (const one of found) check(one, model);
  return found;
}

function check(value, model) {
  const members = mappers[model].type.modelProperties;
  for (const [name, described] of Object.entries(members)) {
    const found = value[name];
    const where = `${model}.${name}`;
    if (found === undefined) assert.ok(!described.required, `${where} is missing`);
    else checkType(found, described.type, where);
  }
}

function checkType(value, type, where) {
  const plain = { String: "string", Number: "number", Boolean: "boolean", TimeSpan: "string" };
  if (type.name === "Composite") check(value, type.className);
  else if (type.name === "Sequence") {
    assert.ok(Array.isArray(value), where);
    for (const one of value) checkType(one, type.element.type, where);
  } else if (type.name === "Enum") {
    assert.ok(type.allowedValues.includes(value), `${where}: ${value}`);
  } else if (type.name === "DateTime") {
    assert.ok(value instanceof Date && !Number.isNaN(value.valueOf()), where);
  } else if (plain[type.name]) assert.equal(typeof value, plain[type.name], where);
}

// A call that the service refuses; without a code where the answer has no body.
export async function refused(status, code, operation, ...words) {
  const failure = await call(operation, ...words).then(
    () => assert.fail(`${operation} was not refused`),
    (error) => error,
  );
  const found = [failure.statusCode, failure.body?.code];
  assert.deepEqual(found, [status, code], `${operation}: ${failure.stack}`);
}

// Refused while a condition is not met, carried out when all are.
export async function conditional(operation, args, etag, options = {}, extra = {}) {
  const method = operation.split(".")[1];
  const isRead = /^(get|exists)/.test(method);
  const isSilent = /^(exists|getProperties|getFrom)/.test(method); // a stream is not looked into
  const same = isRead ? [304, undefined] : [412, "ConditionNotMet"];
  const other = [412, isSilent ? undefined : "ConditionNotMet"];
  const met = { ifModifiedSince: LONG_AGO, ifUnmodifiedSince: LATER };
  const unmet = [
    [same, { ifModifiedSince: LATER }],
    [other, { ifUnmodifiedSince: LONG_AGO }],
  ];
  if (etag) {
    unmet.push([other, { ifMatch: STALE }], [same, { ifNoneMatch: etag }]);
    Object.assign(met, { ifMatch: etag, ifNoneMatch: STALE });
  }
  for (const [[status, code], one] of unmet) {
    await refused(status, code, operation, args, { ...options, ...one }, extra);
  }
  return call(operation, args, { ...options, ...met }, extra);
}

// Every operation of every group, without those that only fetch the next page of another.
function offered() {
  const found = [];
  for (const [group, value] of Object.entries(client)) {
    if (value?.client !== client) continue;
    for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(value))) {
      if (name !== "constructor" && !name.endsWith("Next")) found.push(`${group}.${name}`);
    }
  }
  return found;
}

// Every option of every operation was given at least once; then say it all.
export async function finish() {
  for (const operation of offered()) {
    await of(operation, () => {
      const left = knownOptions(operation).filter((name) => !given[operation]?.has(name));
      assert.deepEqual(left, [], `${operation} was never given these`);
    });
  }
  process.stdout.write(JSON.stringify({ errors, offered: offered() }));
}
