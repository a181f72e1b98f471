// Sends what Claude Code sends, with the SDK that Claude Code uses: one counter, one event per request.
// Arguments: folder of node_modules, then JSON {form, temporality, compression, session, requests, wait_ms,
// hold}: before the request of number `hold` it waits for a line on stdin.
import { createRequire } from "node:module";

const [folder, settings] = process.argv.slice(2);
const { form, temporality, compression, session, requests, wait_ms: wait, hold } = JSON.parse(settings);
const load = createRequire(folder + "/");
const { MeterProvider, PeriodicExportingMetricReader, AggregationTemporality } = load("@opentelemetry/sdk-metrics");
const { LoggerProvider, BatchLogRecordProcessor } = load("@opentelemetry/sdk-logs");
const { OTLPMetricExporter } = load(`@opentelemetry/exporter-metrics-otlp-${form}`);
const { OTLPLogExporter } = load(`@opentelemetry/exporter-logs-otlp-${form}`);

const exporter = new OTLPMetricExporter({ compression, temporalityPreference: AggregationTemporality[temporality] });
const meters = new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 200, exportTimeoutMillis: 200 })] });
const logs = new LoggerProvider({ processors: [new BatchLogRecordProcessor(new OTLPLogExporter({ compression }), { scheduledDelayMillis: 100 })] });
const counter = meters.getMeter("com.anthropic.claude_code").createCounter("claude_code.token.usage", { unit: "tokens" });
const logger = logs.getLogger("com.anthropic.claude_code.events");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

for (const [number, { id, input, output, read, creation }] of requests.entries()) {
  if (number === hold) {
    await new Promise((done) => process.stdin.once("data", done));
    process.stdin.destroy();
  }
  const common = { "session.id": session, model: "claude-opus-5-5" };
  for (const [type, count] of Object.entries({ input, output, cacheRead: read, cacheCreation: creation }))
    counter.add(count, { ...common, type });
  logger.emit({
    body: "claude_code.api_request",
    attributes: {
      ...common, "event.name": "api_request", request_id: id,
      input_tokens: input, output_tokens: output, cache_read_tokens: read, cache_creation_tokens: creation,
    },
  });
  console.log(`sent ${id}`);
  await pause(wait);
}
await logs.shutdown();
await meters.shutdown();
