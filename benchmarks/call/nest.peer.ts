import "reflect-metadata";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { CqrsModule, QueryBus, QueryHandler } from "@nestjs/cqrs";
import { subjectOf } from "../peers.ts";
import { caller } from "./caller.ts";
import { type Order, order, quote } from "./quote.ts";

// Decorators are called as the functions that they are: Node runs this file as it stands.
class QuoteQuery {
  readonly asked: Order;
  constructor(asked: Order) {
    this.asked = asked;
  }
}

class QuoteHandler {
  async execute({ asked }: QuoteQuery): Promise<Order> {
    return order.parse(await quote(order.parse(asked)));
  }
}
QueryHandler(QuoteQuery)(QuoteHandler);

class SalesModule {}
Module({ imports: [CqrsModule.forRoot()], providers: [QuoteHandler] })(SalesModule);

export async function contenders() {
  const app = await NestFactory.createApplicationContext(SalesModule, { logger: false });
  await app.init();
  const bus = app.get(QueryBus);
  return [
    await caller(subjectOf("@nestjs/cqrs"), (input) => bus.execute(new QuoteQuery(input)), {
      note: "has no validation of its own: zod in the handler",
      close: () => app.close(),
    }),
  ];
}
