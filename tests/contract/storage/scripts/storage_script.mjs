// @azure/storage-blob on Node.js, unmodified, on our storage: what a step finds wrong is written
// down under its name, and the next goes on.
//
// The first word of the command line is a connection string; LOTE_CLIENT is the folder that the
// client is installed in. Written to standard output: {"errors": {step: null or text}}.

import assert from "node:assert/strict";
import { randomBytes, webcrypto } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";

globalThis.crypto ??= webcrypto; // the client wants Node.js 20, and Debian 12 has 18
const library = createRequire(path.join(process.env.LOTE_CLIENT, "index.js"))("@azure/storage-blob");
const { equal, deepEqual, ok } = assert;
const service = library.BlobServiceClient.fromConnectionString(process.argv[2]);
const credential = service.credential;
const box = service.getContainerClient("js-box");
const inAnHour = new Date(Date.now() + 3600e3);
const MIB = 1 << 20;
const errors = {};

async function of(name, step) {
  try {
    await step();
    errors[name] = null;
  } catch (failure) {
    errors[name] = failure.stack ?? String(failure);
  }
}

async function refused(status, code, call) {
  await assert.rejects(call, (error) => {
    deepEqual([error.statusCode, error.code ?? error.details?.errorCode], [status, code]);
    return true;
  });
}

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

const put = (name, text, options) =>
  box.getBlockBlobClient(name).upload(text, Buffer.byteLength(text), options);
const text = async (client) => (await client.downloadToBuffer()).toString();

async function containers() {
  await of("containers", async () => {
    const made = await box.create({ metadata: { team: "red" } });
    ok(made.requestId && made.version && made.etag && made.lastModified);
    equal((await box.createIfNotExists()).succeeded, false);
    equal((await box.getProperties()).metadata.team, "red");
    await box.setMetadata({ team: "blue" });
    const found = await all(service.listContainers({ prefix: "js-", includeMetadata: true }));
    deepEqual(found.map((one) => [one.name, one.metadata.team]), [["js-box", "blue"]]);
    await refused(409, "ContainerAlreadyExists", () => box.create());
    await refused(404, "ContainerNotFound", () => service.getContainerClient("js-no").delete());
  });
  await of("service", async () => {
    const before = await service.getProperties();
    await service.setProperties({ ...before, defaultServiceVersion: "2021-12-02" });
    equal((await service.getProperties()).defaultServiceVersion, "2021-12-02");
    ok((await service.getAccountInfo()).skuName);
  });
}

async function blobs() {
  await of("upload and download", async () => {
    const given = { metadata: { a: "b" }, blobHTTPHeaders: { blobContentType: "text/plain" } };
    await put("one", "uno", { ...given, tags: { kind: "x" } });
    const client = box.getBlobClient("one");
    const found = await client.download();
    deepEqual([found.contentType, found.metadata.a, found.contentLength], ["text/plain", "b", 3]);
    equal(await text(client), "uno");
    equal((await client.downloadToBuffer(1, 2)).toString(), "no");
    equal((await client.getProperties()).blobType, "BlockBlob");
    equal(await client.exists(), true);
    equal(await box.getBlobClient("two").exists(), false);
    await refused(404, "BlobNotFound", () => box.getBlobClient("two").download());
  });
  await of("large, in blocks", async () => {
    const content = randomBytes(9 * MIB + 7);
    const client = box.getBlockBlobClient("large");
    await client.uploadData(content, {
      blockSize: MIB, concurrency: 4, maxSingleShotSize: MIB, onProgress() {},
    });
    const back = await client.downloadToBuffer(0, undefined, { blockSize: MIB, concurrency: 4 });
    ok(back.equals(content));
    const blocks = await client.getBlockList("all");
    deepEqual([blocks.committedBlocks.length, blocks.uncommittedBlocks.length], [10, 0]);
    await client.stageBlock(Buffer.from("late").toString("base64"), "x", 1);
    equal((await client.getBlockList("uncommitted")).uncommittedBlocks.length, 1);
  });
  await of("append blobs", async () => {
    const client = box.getAppendBlobClient("log");
    await client.createIfNotExists();
    await client.appendBlock("one", 3);
    const { blobAppendOffset } = await client.appendBlock("two", 3, {
      conditions: { appendPosition: 3 },
    });
    equal(blobAppendOffset, "3");
    await client.seal();
    equal(await text(client), "onetwo");
  });
  await of("conditions", async () => {
    const { etag } = await put("held", "1");
    await refused(409, "BlobAlreadyExists", () =>
      put("held", "2", { conditions: { ifNoneMatch: "*" } }),
    );
    await put("held", "3", { conditions: { ifMatch: etag } });
    await refused(412, "ConditionNotMet", () => put("held", "4", { conditions: { ifMatch: etag } }));
    equal(await text(box.getBlobClient("held")), "3");
  });
  await of("leases", async () => {
    await put("leased", "1");
    const client = box.getBlockBlobClient("leased");
    const lease = client.getBlobLeaseClient();
    const { leaseId } = await lease.acquireLease(60);
    await refused(412, "LeaseIdMissing", () => put("leased", "2"));
    await put("leased", "2", { conditions: { leaseId } });
    await lease.renewLease();
    await lease.releaseLease();
    const whole = box.getBlobLeaseClient();
    await whole.acquireLease(15);
    await refused(412, "LeaseIdMissing", () => box.delete());
    await whole.breakLease(0);
  });
  await of("snapshots, tags, tiers", async () => {
    await put("many", "old");
    const client = box.getBlockBlobClient("many");
    const { snapshot } = await client.createSnapshot();
    await put("many", "new");
    equal(await text(client.withSnapshot(snapshot)), "old");
    await client.setTags({ kind: "found" });
    deepEqual((await client.getTags()).tags, { kind: "found" });
    const found = await all(service.findBlobsByTags("kind='found'"));
    deepEqual(found.map((one) => one.name), ["many"]);
    await client.setAccessTier("Cool");
    equal((await client.getProperties()).accessTier, "Cool");
    await client.delete({ deleteSnapshots: "include" });
  });
  await of("copies", async () => {
    await put("source", "copied");
    const source = box.getBlobClient("source");
    const target = box.getBlockBlobClient("target");
    const poller = await target.beginCopyFromURL(source.url);
    equal((await poller.pollUntilDone()).copyStatus, "success");
    const signed = await source.generateSasUrl({
      permissions: library.BlobSASPermissions.parse("r"), expiresOn: inAnHour,
    });
    equal((await box.getBlobClient("again").syncCopyFromURL(signed)).copyStatus, "success");
    await box.getBlockBlobClient("third").syncUploadFromURL(signed);
    const staged = box.getBlockBlobClient("fourth");
    const id = Buffer.from("a").toString("base64");
    await staged.stageBlockFromURL(id, signed, 0, 4);
    await staged.commitBlockList([id]);
    const names = ["target", "again", "third", "fourth"];
    const texts = await Promise.all(names.map((name) => text(box.getBlobClient(name))));
    deepEqual(texts, ["copied", "copied", "copied", "copi"]);
  });
}

async function lists() {
  await of("lists", async () => {
    const made = ["l/a", "l/b/1", "l/b/2", "l/c", "l/ü & <x>"];
    await Promise.all(made.map((name) => put(name, name, { metadata: { n: "1" } })));
    const flat = await all(box.listBlobsFlat({ prefix: "l/", includeMetadata: true }));
    deepEqual(flat.map((one) => one.name), made);
    ok(flat.every((one) => one.metadata.n === "1" && one.properties.contentLength > 0));
    const level = await all(box.listBlobsByHierarchy("/", { prefix: "l/" }));
    const kinds = level.map((one) => `${one.kind} ${one.name}`);
    deepEqual(kinds.sort(), ["blob l/a", "blob l/c", "blob l/ü & <x>", "prefix l/b/"]);
    const sizes = [];
    for await (const page of box.listBlobsFlat({ prefix: "l/" }).byPage({ maxPageSize: 2 })) {
      sizes.push(page.segment.blobItems.length);
    }
    deepEqual(sizes, [2, 2, 1]);
  });
  await of("batches", async () => {
    const names = ["l/a", "l/b/1", "l/none"];
    const done = await service
      .getBlobBatchClient()
      .deleteBlobs(names.map((name) => box.getBlobClient(name).url), credential);
    deepEqual(done.subResponses.map((one) => one.status), [202, 202, 404]);
    deepEqual([done.subResponsesSucceededCount, done.subResponsesFailedCount], [2, 1]);
  });
}

async function access() {
  const open = (url) => new library.ContainerClient(url);
  await of("signatures", async () => {
    await put("seen", "seen");
    const url = await box.generateSasUrl({
      permissions: library.ContainerSASPermissions.parse("rl"), expiresOn: inAnHour,
    });
    const reader = open(url);
    equal(await text(reader.getBlobClient("seen")), "seen");
    ok((await all(reader.listBlobsFlat())).length > 0);
    await refused(403, "AuthorizationPermissionMismatch", () =>
      reader.getBlockBlobClient("new").upload("x", 1),
    );
    const whole = service.generateAccountSasUrl(
      inAnHour, library.AccountSASPermissions.parse("rwdlacup"), "sco",
    );
    const other = new library.BlobServiceClient(whole).getContainerClient("js-box");
    await other.getBlockBlobClient("by-account").upload("x", 1);
  });
  await of("stored policies", async () => {
    const policy = { startsOn: new Date(Date.now() - 60e3), expiresOn: inAnHour, permissions: "r" };
    await box.setAccessPolicy(undefined, [{ id: "readers", accessPolicy: policy }]);
    equal((await box.getAccessPolicy()).signedIdentifiers[0].id, "readers");
    const url = await box.generateSasUrl({ identifier: "readers" });
    equal(await text(open(url).getBlobClient("seen")), "seen");
    await box.setAccessPolicy(undefined, []);
    await refused(403, "AuthenticationFailed", () => open(url).getBlobClient("seen").download());
  });
  await of("wrong key", async () => {
    const wrong = new library.StorageSharedKeyCredential(
      credential.accountName, randomBytes(64).toString("base64"),
    );
    const client = new library.BlobServiceClient(service.url, wrong);
    await refused(403, "AuthenticationFailed", () => client.getProperties());
  });
}

async function ends() {
  await of("deletes", async () => {
    await box.getBlobClient("seen").delete();
    equal((await box.getBlobClient("seen").deleteIfExists()).succeeded, false);
    await box.delete();
    equal(await box.exists(), false);
  });
}

for (const part of [containers, blobs, lists, access, ends]) await part();
process.stdout.write(JSON.stringify({ errors }));
