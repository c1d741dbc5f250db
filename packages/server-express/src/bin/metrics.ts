import { metrics } from "@opentelemetry/api";
import { CommandRefused } from "./command-refused.ts";

/**
 * Answers Prometheus at `/metrics` of an address of its own, which is not the API's: who may see one may not see the
 * other. To be started before the app, which takes its meter when it is made.
 *
 * @returns ends it
 */
export async function startMetrics(address: {
  readonly host: string;
  readonly port: number;
}): Promise<() => Promise<void>> {
  const [{ PrometheusExporter }, { MeterProvider }] = await Promise.all([
    import("@opentelemetry/exporter-prometheus"),
    import("@opentelemetry/sdk-metrics"),
  ]);
  const exporter = new PrometheusExporter({ ...address, preventServerStart: true });
  const provider = new MeterProvider({ readers: [exporter] });
  metrics.setGlobalMeterProvider(provider);
  try {
    await exporter.startServer();
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    throw new CommandRefused(
      `The metrics cannot be served at METRICS_ADDRESS ${address.host}:${address.port} (${code}).`,
      {
        cause: error,
      },
    );
  }
  return () => provider.shutdown();
}
