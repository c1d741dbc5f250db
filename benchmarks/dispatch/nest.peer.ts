import "reflect-metadata";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { CqrsModule, EventBus, EventsHandler } from "@nestjs/cqrs";
import { subjectOf } from "../peers.ts";
import { dispatcher, EVENT } from "./dispatcher.ts";

let handle = () => {};

// Decorators are called as the functions that they are: Node runs this file as it stands.
class OrderChanged {
  readonly data = EVENT;
}

class OrderChangedHandler {
  handle(_event: OrderChanged) {
    handle();
  }
}
EventsHandler(OrderChanged)(OrderChangedHandler);

class OrdersModule {}
Module({ imports: [CqrsModule.forRoot()], providers: [OrderChangedHandler] })(OrdersModule);

export async function contenders() {
  const app = await NestFactory.createApplicationContext(OrdersModule, { logger: false });
  await app.init();
  const bus = app.get(EventBus);
  return [
    dispatcher(subjectOf("@nestjs/cqrs"), (handled) => {
      handle = handled;
      return { dispatch: () => bus.publish(new OrderChanged()), close: () => app.close() };
    }),
  ];
}
