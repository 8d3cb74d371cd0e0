// @azure/batch on Node.js: every operation of every group, with every option.

import assert from "node:assert/strict";
import {
  LATER,
  LONG_AGO,
  call,
  conditional,
  finish,
  get,
  list,
  logsUrl,
  of,
  refused,
  until,
} from "./js_calls.mjs";

const { equal, deepEqual, ok } = assert;
const POOL = "js-pool", SECOND = "js-pool-2", JOB = "js-job", LONE = "js-lone", PLAN = "js-plan";
const agent = "batch.node.ubuntu 24.04";
const machine = {
  imageReference: { publisher: "canonical", offer: "ubuntu-24_04-lts", sku: "server" },
  nodeAgentSKUId: agent,
};
const stats = { select: "id,state", expand: "stats" };
const ids = (found) => found.map((one) => one.id);
const pool = (id = POOL) => get("CloudPool", "pool.get", [id]);
const job = (id = JOB) => get("CloudJob", "job.get", [id]);
const task = (id, jobId = LONE) => get("CloudTask", "task.get", [jobId, id]);
const plan = () => get("CloudJobSchedule", "jobSchedule.get", [PLAN]);

async function account() {
  await of("application.list", async () => {
    deepEqual(await list("ApplicationSummary", "application.list", [], { maxResults: 5 }), []);
  });
  await of("application.get", () => refused(404, "ApplicationNotFound", "application.get", ["x"]));
  await of("account.listSupportedImages", async () => {
    const options = { filter: "osType eq 'linux'", maxResults: 2 };
    const found = await list("ImageInformation", "account.listSupportedImages", [], options);
    ok(found.some((one) => one.nodeAgentSKUId === agent));
    ok(found.every((one) => one.osType === "linux"));
  });
  await of("pool.getAllLifetimeStatistics", async () => {
    const found = await get("PoolStatistics", "pool.getAllLifetimeStatistics");
    ok(found.startTime <= found.lastUpdateTime);
    ok(found.usageStats.dedicatedCoreTime.startsWith("P"));
  });
  await of("job.getAllLifetimeStatistics", async () => {
    // What the service does not measure is left out, though the client calls it required.
    const found = await call("job.getAllLifetimeStatistics");
    ok(found.startTime <= found.lastUpdateTime);
    deepEqual([typeof found.numSucceededTasks, typeof found.numFailedTasks], ["number", "number"]);
  });
}

async function pools() {
  await of("pool.add", async () => {
    const body = {
      id: POOL,
      displayName: "A pool",
      vmSize: "standard_d2_v2",
      virtualMachineConfiguration: machine,
      targetDedicatedNodes: 2,
      targetLowPriorityNodes: 0,
      resizeTimeout: "PT10M",
      taskSlotsPerNode: 2,
      taskSchedulingPolicy: { nodeFillType: "Pack" },
      startTask: {
        commandLine: "/bin/true",
        waitForSuccess: true,
        maxTaskRetryCount: 1,
        environmentSettings: [{ name: "N", value: "v" }],
      },
      metadata: [{ name: "team", value: "red" }],
      targetNodeCommunicationMode: "Simplified",
    };
    equal((await call("pool.add", [body])).dataServiceId.endsWith(`/pools/${POOL}`), true);
    const second = { id: SECOND, vmSize: "standard_d2_v2", virtualMachineConfiguration: machine };
    await call("pool.add", [second]);
    await refused(409, "PoolExists", "pool.add", [second]);
  });
  await of("pool.get", async () => {
    await until(async () => (await pool()).allocationState === "steady");
    const found = await pool();
    deepEqual([found.id, found.displayName, found.currentDedicatedNodes], [POOL, "A pool", 2]);
    equal(found.resizeTimeout, "PT10M");
    deepEqual(found.metadata, [{ name: "team", value: "red" }]);
    equal(found.startTask.environmentSettings[0].value, "v");
    const part = await conditional("pool.get", [POOL], found.eTag, stats);
    deepEqual([part.id, part.state, part.vmSize], [POOL, "active", undefined]);
    await refused(404, "PoolNotFound", "pool.get", ["none"]);
  });
  await of("pool.exists", async () => {
    equal((await conditional("pool.exists", [POOL], (await pool()).eTag)).body, true);
    equal((await call("pool.exists", ["none"])).body, false);
  });
  await of("pool.list", async () => {
    const options = { filter: `startswith(id,'${POOL}')`, maxResults: 1, ...stats };
    deepEqual(ids(await list("CloudPool", "pool.list", [], options)), [POOL, SECOND]);
  });
  await of("pool.patch", async () => {
    const changes = { metadata: [{ name: "a", value: "b" }] };
    await conditional("pool.patch", [POOL, changes], (await pool()).eTag);
    const found = await pool();
    deepEqual([found.metadata[0].name, found.startTask.commandLine], ["a", "/bin/true"]);
  });
  await of("pool.updateProperties", async () => {
    const body = { applicationPackageReferences: [], certificateReferences: [], metadata: [] };
    await call("pool.updateProperties", [SECOND, body]);
    equal((await pool(SECOND)).startTask, undefined);
  });
  await of("pool.resize pool.stopResize", async () => {
    const size = {
      targetDedicatedNodes: 1,
      targetLowPriorityNodes: 1,
      resizeTimeout: "PT5M",
      nodeDeallocationOption: "requeue",
    };
    await conditional("pool.resize", [SECOND, size], (await pool(SECOND)).eTag);
    await conditional("pool.stopResize", [SECOND], (await pool(SECOND)).eTag);
    await until(async () => (await pool(SECOND)).allocationState === "steady");
  });
  await of("account.listPoolNodeCounts", async () => {
    const options = { filter: `poolId eq '${POOL}'`, maxResults: 10 };
    const [found] = await list("PoolNodeCounts", "account.listPoolNodeCounts", [], options);
    deepEqual([found.poolId, found.dedicated.total], [POOL, 2]);
  });
  await of("pool.listUsageMetrics", async () => {
    const startTime = new Date(Date.now() - 7200000), endTime = new Date(Date.now() + 60000);
    const options = { startTime, endTime, filter: `poolId eq '${POOL}'`, maxResults: 1 };
    const found = await list("PoolUsageMetrics", "pool.listUsageMetrics", [], options);
    ok(found.length > 0 && found.every((one) => one.poolId === POOL && one.totalCoreHours > 0));
  });
}

// Accepted, or refused as not carried out yet by a service that says so.
async function formulas() {
  const names = ["enable", "evaluate", "disable"].map((verb) => `pool.${verb}AutoScale`);
  const [enable, evaluate, disable] = names;
  await of(names.join(" "), async () => {
    const formula = "$TargetDedicatedNodes = 0;";
    const options = { ifMatch: (await pool(SECOND)).eTag, ifNoneMatch: "0x1" };
    Object.assign(options, { ifModifiedSince: LONG_AGO, ifUnmodifiedSince: LATER });
    const body = { autoScaleFormula: formula, autoScaleEvaluationInterval: "PT6M" };
    const failure = await call(enable, [SECOND, body], options).then(() => null, (error) => error);
    if (failure) {
      equal(failure.code, "NotImplemented");
      await refused(501, "NotImplemented", evaluate, [SECOND, formula]);
      await refused(501, "NotImplemented", disable, [SECOND]);
      return;
    }
    equal((await pool(SECOND)).autoScaleFormula, formula);
    const run = await get("AutoScaleRun", evaluate, [SECOND, formula]);
    ok(run.results.includes("$TargetDedicatedNodes=0"), run.results);
    await call(disable, [SECOND]);
    equal((await pool(SECOND)).enableAutoScale, false);
  });
}

async function nodes() {
  let here;
  const node = () => get("ComputeNode", "computeNode.get", here);
  const isIdle = async () => (await node()).state === "idle";
  await of("computeNode.list", async () => {
    const options = { filter: "state eq 'idle'", select: "id,state", maxResults: 1 };
    const idle = () => list("ComputeNode", "computeNode.list", [POOL], options);
    await until(async () => (await idle()).length === 2);
    here = [POOL, (await idle())[0].id];
  });
  await of("computeNode.get", async () => {
    const found = await node();
    deepEqual([found.state, found.vmSize], ["idle", "standard_d2_v2"]);
    ok(found.allocationTime <= found.lastBootTime);
    equal((await call("computeNode.get", here, { select: "id" })).state, undefined);
  });
  await of("computeNode.disableScheduling computeNode.enableScheduling", async () => {
    const extra = { nodeDisableSchedulingOption: "requeue" };
    await call("computeNode.disableScheduling", here, {}, extra);
    await until(async () => (await node()).state === "offline");
    await call("computeNode.enableScheduling", here);
    await until(isIdle);
  });
  for (const [verb, option] of [["reboot", "terminate"], ["reimage", "requeue"]]) {
    await of(`computeNode.${verb}`, async () => {
      const before = (await node()).lastBootTime;
      const extra = { [`node${verb[0].toUpperCase()}${verb.slice(1)}Option`]: option };
      await call(`computeNode.${verb}`, here, {}, extra);
      await until(async () => (await node()).lastBootTime > before);
      await until(isIdle);
    });
  }
  await of("computeNode.addUser computeNode.updateUser computeNode.deleteUser", async () => {
    const user = { name: "jsuser", isAdmin: true, password: "s3cret-Pass!", expiryTime: LATER };
    await call("computeNode.addUser", [...here, user]);
    const changes = { sshPublicKey: "ssh-rsa AAAA x" };
    await call("computeNode.updateUser", [...here, "jsuser", changes]);
    await call("computeNode.deleteUser", [...here, "jsuser"]);
    await refused(404, "NodeUserNotFound", "computeNode.deleteUser", [...here, "jsuser"]);
  });
  await of("computeNode.getRemoteLoginSettings", async () => {
    const model = "ComputeNodeGetRemoteLoginSettingsResult";
    const found = await get(model, "computeNode.getRemoteLoginSettings", here);
    ok(found.remoteLoginPort > 0 && found.remoteLoginIPAddress);
  });
  await of("computeNode.getRemoteDesktop", async () => {
    const text = await read(await call("computeNode.getRemoteDesktop", here));
    ok(text.startsWith("full address:s:"), text);
  });
  await of("computeNode.uploadBatchServiceLogs", async () => {
    const wanted = { containerUrl: logsUrl, startTime: LONG_AGO, endTime: new Date() };
    const model = "UploadBatchServiceLogsResult";
    const found = await get(model, "computeNode.uploadBatchServiceLogs", [...here, wanted]);
    ok(found.numberOfFilesUploaded >= 1);
  });
  await of("computeNodeExtension.list", async () => {
    const options = { select: "vmExtension", maxResults: 5 };
    deepEqual(await list("NodeVMExtension", "computeNodeExtension.list", here, options), []);
  });
  await of("computeNodeExtension.get", async () => {
    const options = { select: "vmExtension" };
    const name = "computeNodeExtension.get";
    await refused(404, "ResourceNotFound", name, [...here, "any"], options);
  });
}

async function read(answer) {
  const pieces = [];
  for await (const piece of answer.readableStreamBody) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function jobs() {
  await of("job.add", async () => {
    const body = {
      id: JOB,
      displayName: "A job",
      priority: 5,
      maxParallelTasks: 3,
      allowTaskPreemption: true,
      usesTaskDependencies: true,
      poolInfo: { poolId: POOL },
      constraints: { maxWallClockTime: "PT1H", maxTaskRetryCount: 2 },
      metadata: [{ name: "team", value: "red" }],
      onAllTasksComplete: "noaction",
      onTaskFailure: "noaction",
    };
    await call("job.add", [body]);
    await call("job.add", [{ id: LONE, poolInfo: { poolId: "none" } }]);
    await refused(409, "JobExists", "job.add", [body]);
  });
  await of("job.get", async () => {
    const found = await job();
    deepEqual([found.id, found.priority, found.state], [JOB, 5, "active"]);
    deepEqual(found.constraints, { maxWallClockTime: "PT1H", maxTaskRetryCount: 2 });
    equal(found.poolInfo.poolId, POOL);
    equal((await conditional("job.get", [JOB], found.eTag, stats)).priority, undefined);
  });
  await of("job.list", async () => {
    const options = { filter: "startswith(id,'js-')", maxResults: 1, ...stats };
    deepEqual(ids(await list("CloudJob", "job.list", [], options)), [JOB, LONE]);
  });
  await of("job.patch", async () => {
    const changes = { priority: 6, maxParallelTasks: 4 };
    await conditional("job.patch", [JOB, changes], (await job()).eTag);
    const found = await job();
    deepEqual([found.priority, found.maxParallelTasks, found.metadata.length], [6, 4, 1]);
  });
  await of("job.update", async () => {
    const whole = { poolInfo: { poolId: POOL }, priority: 7 };
    await conditional("job.update", [JOB, whole], (await job()).eTag);
    const found = await job();
    deepEqual([found.priority, found.maxParallelTasks, found.metadata], [7, -1, undefined]);
  });
  await of("job.disable job.enable", async () => {
    await conditional("job.disable", [JOB, "requeue"], (await job()).eTag);
    await until(async () => (await job()).state === "disabled");
    await conditional("job.enable", [JOB], (await job()).eTag);
    await until(async () => (await job()).state === "active");
  });
  await of("job.listPreparationAndReleaseTaskStatus", async () => {
    const options = { filter: "nodeId eq 'n'", select: "nodeId", maxResults: 5 };
    const name = "job.listPreparationAndReleaseTaskStatus";
    await refused(409, "JobPreparationTaskNotSpecified", name, [JOB], options);
  });
}

async function tasks() {
  await of("task.add", async () => {
    const body = {
      id: "t",
      commandLine: "/bin/sh -c 'echo $N; mkdir d; printf 0123456789 > d/f.txt'",
      environmentSettings: [{ name: "N", value: "v" }],
      constraints: { maxWallClockTime: "PT5M", retentionTime: "PT1H", maxTaskRetryCount: 1 },
      requiredSlots: 1,
    };
    await call("task.add", [JOB, body]);
    await refused(409, "TaskExists", "task.add", [JOB, body]);
  });
  const names = Array.from({ length: 100 }, (_, number) => `m${String(number).padStart(3, "0")}`);
  await of("task.addCollection", async () => {
    const many = names.map((id) => ({ id, commandLine: "x" }));
    const found = await get("TaskAddCollectionResult", "task.addCollection", [LONE, many]);
    deepEqual(found.value.map((one) => one.taskId), names);
    ok(found.value.every((one) => one.status === "success"), found.value[0].status);
    const again = await call("task.addCollection", [LONE, many.slice(0, 1)]);
    deepEqual([again.value[0].status, again.value[0].error.code], ["clienterror", "TaskExists"]);
    await call("task.add", [LONE, { id: "w", commandLine: "x" }]);
  });
  await of("task.list", async () => {
    const filter = "startswith(id,'m') and state eq 'active'";
    const options = { filter, maxResults: 30, ...stats };
    deepEqual(ids(await list("CloudTask", "task.list", [LONE], options)), names);
  });
  await of("task.get", async () => {
    await until(async () => (await task("t", JOB)).state === "completed");
    const found = await task("t", JOB);
    deepEqual([found.executionInfo.exitCode, found.executionInfo.result], [0, "success"]);
    equal(found.constraints.retentionTime, "PT1H");
    equal((await conditional("task.get", [JOB, "t"], found.eTag, stats)).commandLine, undefined);
  });
  await of("job.getTaskCounts", async () => {
    const found = await get("TaskCountsResult", "job.getTaskCounts", [LONE]);
    deepEqual([found.taskCounts.active, found.taskSlotCounts.active], [101, 101]);
  });
  const here = [LONE, "w"];
  await of("task.update", async () => {
    const extra = { constraints: { maxTaskRetryCount: 3 } };
    await conditional("task.update", here, (await task("w")).eTag, {}, extra);
    equal((await task("w")).constraints.maxTaskRetryCount, 3);
  });
  await of("task.terminate task.reactivate", async () => {
    await conditional("task.terminate", here, (await task("w")).eTag);
    equal((await task("w")).executionInfo.failureInfo.code, "TaskEnded");
    await conditional("task.reactivate", here, (await task("w")).eTag);
    equal((await task("w")).state, "active");
  });
  await of("task.listSubtasks", async () => {
    deepEqual((await call("task.listSubtasks", here, { select: "id" })).value, []);
  });
  await of("task.deleteMethod", async () => {
    await conditional("task.deleteMethod", here, (await task("w")).eTag);
    await refused(404, "TaskNotFound", "task.get", here);
  });
}

async function files() {
  const { nodeId, taskRootDirectory: folder } = (await task("t", JOB)).nodeInfo;
  const places = [["Task", [JOB, "t"], ""], ["ComputeNode", [POOL, nodeId], `${folder}/`]];
  for (const [end, where, prefix] of places) {
    const file = [...where, `${prefix}wd/d/f.txt`];
    await of(`file.listFrom${end}`, async () => {
      const options = { filter: `startswith(name,'${prefix}wd/d')`, maxResults: 1 };
      const extra = { recursive: true };
      const found = await list("NodeFile", `file.listFrom${end}`, where, options, extra);
      deepEqual(found.map((one) => one.name), [`${prefix}wd/d`, file[2]]);
      equal(found[1].properties.contentLength, 10);
    });
    await of(`file.getPropertiesFrom${end}`, async () => {
      const found = await conditional(`file.getPropertiesFrom${end}`, file);
      deepEqual([found.contentLength, found.ocpBatchFileIsdirectory], [10, "False"]);
      ok(found.lastModified instanceof Date);
    });
    await of(`file.getFrom${end}`, async () => {
      const options = { ocpRange: "bytes=2-5" };
      equal(await read(await conditional(`file.getFrom${end}`, file, "", options)), "2345");
      equal(await read(await call(`file.getFrom${end}`, file)), "0123456789");
    });
  }
  for (const [end, where, prefix] of places) {
    await of(`file.deleteFrom${end}`, async () => {
      const gone = end === "Task" ? `${prefix}wd/d` : `${prefix}wd`;
      const extra = { recursive: true };
      await call(`file.deleteFrom${end}`, [...where, gone], {}, extra);
      const options = { filter: `startswith(name,'${gone}')` };
      deepEqual(await list("NodeFile", `file.listFrom${end}`, where, options, extra), []);
    });
  }
}

async function schedules() {
  const specification = { priority: 4, poolInfo: { poolId: "none" } };
  await of("jobSchedule.add", async () => {
    const schedule = { doNotRunAfter: LATER, startWindow: "PT5M", recurrenceInterval: "PT1H" };
    const body = { id: PLAN, displayName: "A plan", schedule, jobSpecification: specification };
    await call("jobSchedule.add", [body]);
    await refused(409, "JobScheduleExists", "jobSchedule.add", [body]);
  });
  await of("jobSchedule.get", async () => {
    const found = await plan();
    equal(found.schedule.recurrenceInterval, "PT1H");
    equal(found.jobSpecification.priority, 4);
    equal(found.executionInfo.recentJob.id, `${PLAN}:job-1`);
    const part = await conditional("jobSchedule.get", [PLAN], found.eTag, stats);
    deepEqual([part.state, part.schedule], ["active", undefined]);
  });
  await of("jobSchedule.exists", async () => {
    equal((await conditional("jobSchedule.exists", [PLAN], (await plan()).eTag)).body, true);
    equal((await call("jobSchedule.exists", ["none"])).body, false);
  });
  await of("jobSchedule.list", async () => {
    const options = { filter: `id eq '${PLAN}'`, maxResults: 1, ...stats };
    deepEqual(ids(await list("CloudJobSchedule", "jobSchedule.list", [], options)), [PLAN]);
  });
  await of("job.listFromJobSchedule", async () => {
    const options = { filter: "state eq 'active'", maxResults: 1, ...stats };
    const found = await list("CloudJob", "job.listFromJobSchedule", [PLAN], options);
    deepEqual(ids(found), [`${PLAN}:job-1`]);
  });
  await of("jobSchedule.patch jobSchedule.update", async () => {
    await conditional("jobSchedule.patch", [PLAN, { metadata: [] }], (await plan()).eTag);
    const schedule = { recurrenceInterval: "PT3H" };
    const whole = { schedule, jobSpecification: specification };
    await conditional("jobSchedule.update", [PLAN, whole], (await plan()).eTag);
    equal((await plan()).schedule.recurrenceInterval, "PT3H");
  });
  const states = { disable: "disabled", enable: "active", terminate: "completed" };
  for (const [verb, state] of Object.entries(states)) {
    await of(`jobSchedule.${verb}`, async () => {
      await conditional(`jobSchedule.${verb}`, [PLAN], (await plan()).eTag);
      await until(async () => (await plan()).state === state);
    });
  }
  await of("jobSchedule.deleteMethod", async () => {
    await conditional("jobSchedule.deleteMethod", [PLAN], (await plan()).eTag);
    await until(async () => !(await call("jobSchedule.exists", [PLAN])).body);
  });
}

// The public part of a self-signed one, made for this test.
const CERTIFICATE =
  "MIIBCDCBr6ADAgECAgEHMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAmpzMCAXDTI2MDEwMTAwMDAwMFoYDzIxMjUx" +
  "MjA4MDAwMDAwWjANMQswCQYDVQQDDAJqczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKujkiJ49pCoiUn2c/14" +
  "V8hQAJZ/aFshitERNQxE6za5d0JbHLYywEMs3C5PbFFp+rFu3Fw3k9yKdhDuAavHVJQwCgYIKoZIzj0EAwIDSAAw" +
  "RQIgJ5lnrvl9AIxMXiZxFls7vgArnahUaEgwfPnttrhqVX4CIQCh9WGHLdAXaiH45AOl8uSQ2QWYLU7Cl+8VeAGd" +
  "V+D9jQ==";
const named = ["sha1", "eefaa73e3bb915bf5a6a8ce378f420ae5fecd53c"];

async function certificates() {
  await of("certificate.add", async () => {
    const [thumbprintAlgorithm, thumbprint] = named;
    const body = { thumbprint, thumbprintAlgorithm, data: CERTIFICATE, certificateFormat: "cer" };
    await call("certificate.add", [body]);
    await refused(409, "CertificateExists", "certificate.add", [body]);
  });
  await of("certificate.get", async () => {
    const found = await get("Certificate", "certificate.get", named);
    deepEqual([found.thumbprint, found.state], [named[1], "active"]);
    equal((await call("certificate.get", named, { select: "thumbprint" })).state, undefined);
  });
  await of("certificate.list", async () => {
    const options = { filter: "state eq 'active'", select: "thumbprint", maxResults: 5 };
    const found = await list("Certificate", "certificate.list", [], options);
    ok(found.some((one) => one.thumbprint === named[1]));
  });
  await of("certificate.cancelDeletion", async () => {
    await refused(409, "CertificateStateActive", "certificate.cancelDeletion", named);
  });
  await of("certificate.deleteMethod", async () => {
    await call("certificate.deleteMethod", named);
    const all = () => list("Certificate", "certificate.list");
    await until(async () => (await all()).every((one) => one.thumbprint !== named[1]));
  });
}

async function endings() {
  await of("job.terminate", async () => {
    const extra = { terminateReason: "enough" };
    await conditional("job.terminate", [JOB], (await job()).eTag, {}, extra);
    await until(async () => (await job()).state === "completed");
    equal((await job()).executionInfo.terminateReason, "enough");
  });
  await of("job.deleteMethod", async () => {
    await conditional("job.deleteMethod", [JOB], (await job()).eTag);
    await call("job.deleteMethod", [LONE]);
    await refused(404, "JobNotFound", "job.deleteMethod", ["none"]);
  });
  await of("pool.removeNodes", async () => {
    const [first] = ids(await list("ComputeNode", "computeNode.list", [POOL]));
    const leaving = { nodeList: [first], resizeTimeout: "PT5M", nodeDeallocationOption: "requeue" };
    await conditional("pool.removeNodes", [POOL, leaving], (await pool()).eTag);
    await until(async () => (await pool()).currentDedicatedNodes === 1);
    ok(!ids(await list("ComputeNode", "computeNode.list", [POOL])).includes(first));
  });
  await of("pool.deleteMethod", async () => {
    await conditional("pool.deleteMethod", [POOL], (await pool()).eTag);
    await call("pool.deleteMethod", [SECOND]);
    await refused(404, "PoolNotFound", "pool.deleteMethod", ["none"]);
  });
}

const steps = [account, pools, formulas, nodes, jobs, tasks, files, schedules, certificates, endings];
for (const step of steps) await of(step.name, step);
await finish();
