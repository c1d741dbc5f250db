// What the protocol's suite starts for each scenario. The client itself is in the test, which is told where to call:
// forty processes that load everything would take a minute.
import process from "node:process";

const answer = await fetch(process.env["CONFORMANCE_CLIENT"], {
  method: "POST",
  body: JSON.stringify({
    url: process.argv.at(-1),
    context: JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}"),
  }),
});
process.exitCode = answer.ok ? 0 : 1;
