import { describe, expect, test } from "vitest";
import { given } from "../../testing/given.ts";
import { Connector } from "./connector.ts";
import {
  AuthorizationInvalid,
  AuthorizationReturned,
  AuthorizationStarted,
  ConnectorAlreadyConnected,
  ConnectorConnected,
  ConnectorDisconnected,
  ConnectorNeedsReauthorization,
  ConnectorNotConnected,
  CredentialRefreshed,
  ReauthorizationNeeded,
} from "./contract.ts";

type Past = Parameters<typeof given<Connector>>[2];

const id = "con_1";
const provider = "crm";
const at = "2026-01-01T00:00:00.000Z";
const later = "2026-01-01T00:09:59.999Z";
const expiresAt = "2026-01-01T00:10:00.000Z";
const pending = { nonceHash: "hash", redirectUri: "https://host.example/back", expiresAt };
const connection = {
  provider,
  authentication: "oauth2",
  credential: "connectors/con_1/crd_1",
  scopes: ["read"],
} as const;
const newer = { ...connection, credential: "connectors/con_1/crd_2" };

const started = [AuthorizationStarted, { connectorId: id, provider, ...pending, at }] as const;
const returned = [AuthorizationReturned, { connectorId: id, at }] as const;
const connected = [ConnectorConnected, { connectorId: id, ...connection, at }] as const;
const disconnected = [ConnectorDisconnected, { connectorId: id, provider, at }] as const;
const broken = [ReauthorizationNeeded, { connectorId: id, provider, reason: "refused", at }] as const;

/** A connector to which this has happened. */
const after = (...past: readonly unknown[]) => given(Connector, id, past as unknown as Past);

describe("a connector", () => {
  test("begins to be authorized, and takes the one answer that belongs to it", () => {
    after()
      .when((it) => it.startAuthorization(provider, pending, at))
      .then([started]);
    const taken = after(started).when((it) => void it.takeAuthorization("hash", later));
    expect(taken.then([[AuthorizationReturned, { connectorId: id, at: later }]]).state).toMatchObject({
      status: "disconnected",
      pending: null,
    });
  });

  test.each([
    ["of another authorization", [started], "other", at],
    ["that comes too late", [started], "hash", expiresAt],
    ["that was taken before", [started, returned], "hash", at],
    ["when the connection was made in another way meanwhile", [started, connected], "hash", at],
    ["after it was disconnected", [connected, disconnected], "hash", at],
  ])("takes no answer %s", (_why, past, nonceHash, now) => {
    after(...past)
      .when((it) => void it.takeAuthorization(nonceHash, now))
      .thenThrows(AuthorizationInvalid);
  });

  test("only the newest authorization counts", () => {
    const again = { ...pending, nonceHash: "second" };
    const restarted = [AuthorizationStarted, { connectorId: id, provider, ...again, at }] as const;
    after(started)
      .when((it) => it.startAuthorization(provider, again, at))
      .then([restarted]);
    after(started, restarted)
      .when((it) => void it.takeAuthorization("hash", at))
      .thenThrows(AuthorizationInvalid);
    after(started, restarted)
      .when((it) => void it.takeAuthorization("second", at))
      .then([returned]);
  });

  test("an authorization under way can be made void, once", () => {
    const left = after(started).when((it) => it.voidAuthorization(at));
    expect(left.then([returned]).state.status).toBe("disconnected");
    for (const past of [[started, returned], [connected]])
      after(...past)
        .when((it) => it.voidAuthorization(at))
        .then([]);
  });

  test.each([
    ["that is new", []],
    ["whose authorization came back", [started, returned]],
    ["that was disconnected", [connected, disconnected]],
    ["that needs to be authorized again", [connected, broken]],
  ])("%s can be connected", (_what, past) => {
    const done = after(...past).when((it) => it.connect({ ...newer, by: { type: "user", id: "ann" } }, later));
    const connectedBy = { type: "user", id: "ann" } as const;
    const connector = done.then([[ConnectorConnected, { connectorId: id, ...newer, connectedBy, at: later }]]);
    expect(connector.state).toMatchObject({ status: "connected", credential: newer.credential, reason: null });
    expect(connector.usable()).toEqual({ provider, credential: newer.credential });
  });

  test("that is connected can neither be connected nor authorized again", () => {
    after(connected)
      .when((it) => it.connect(newer, at))
      .thenThrows(ConnectorAlreadyConnected, { connectorId: id });
    after(connected)
      .when((it) => it.startAuthorization(provider, pending, at))
      .thenThrows(ConnectorAlreadyConnected, { connectorId: id });
  });

  test("is disconnected when it is connected, well or not, and lets go of its credential", () => {
    for (const past of [[connected], [connected, broken], [connected, broken, started]]) {
      const done = after(...past).when((it) => it.disconnect(at));
      expect(done.then([disconnected]).state).toMatchObject({
        status: "disconnected",
        credential: null,
        pending: null,
        reason: null,
      });
    }
  });

  test("that is disconnected cannot be disconnected again", () => {
    for (const past of [[connected, disconnected], [started], [started, returned]])
      after(...past)
        .when((it) => it.disconnect(at))
        .thenThrows(ConnectorNotConnected, { connectorId: id });
  });

  test("notes that its credential was renewed, and nothing of one that it no longer has", () => {
    const refreshed = [CredentialRefreshed, { connectorId: id, expiresAt, at }] as const;
    after(connected)
      .when((it) => it.credentialRefreshed(connection.credential, expiresAt, at))
      .then([refreshed]);
    after(connected)
      .when((it) => it.credentialRefreshed(connection.credential, undefined, at))
      .then([[CredentialRefreshed, { connectorId: id, at }]]);
    const reconnected = [ConnectorConnected, { connectorId: id, ...newer, at }] as const;
    for (const past of [
      [connected, disconnected],
      [connected, broken],
      [connected, disconnected, reconnected],
    ])
      after(...past)
        .when((it) => it.credentialRefreshed(connection.credential, expiresAt, at))
        .then([]);
  });

  test("needs to be authorized again once its grant is gone, says why, and says it once", () => {
    const done = after(connected).when((it) => it.needsReauthorization(connection.credential, "refused", at));
    expect(done.then([broken]).state).toMatchObject({ status: "needs-reauthorization", reason: "refused" });
    after(connected, broken)
      .when((it) => void it.usable())
      .thenThrows(ConnectorNeedsReauthorization, { connectorId: id, reason: "refused" });
    after(connected, broken)
      .when((it) => it.needsReauthorization(connection.credential, "interrupted", at))
      .then([]);
    after(connected)
      .when((it) => it.needsReauthorization("connectors/con_1/older", "refused", at))
      .then([]);
  });

  test("goes on needing it while somebody is at it, and afterwards when that fails", () => {
    for (const past of [
      [connected, broken, started],
      [connected, broken, started, returned],
    ])
      after(...past)
        .when((it) => void it.usable())
        .thenThrows(ConnectorNeedsReauthorization, { connectorId: id, reason: "refused" });
  });

  test("that is not connected cannot be used", () => {
    for (const past of [[started], [started, returned], [connected, disconnected]])
      after(...past)
        .when((it) => void it.usable())
        .thenThrows(ConnectorNotConnected, { connectorId: id });
  });
});
