/** The agent's news as log lines: one place for their words and levels. */
import type { Logger } from "../runtime/logger.ts";
import type { News } from "./core/events.ts";

export function logNews(logger: Logger, news: News): void {
  switch (news.kind) {
    case "joined":
      logger.info({ term: news.term, skewMs: Math.round(news.skew) }, "registered");
      if (Math.abs(news.skew) > 30_000) {
        logger.warn({ skewMs: Math.round(news.skew) }, "this clock is far from the coordinator's");
      }
      return;
    case "not-joined":
      if (news.final) logger.error({ code: news.code }, "registration is refused for good");
      else logger.warn({ code: news.code }, "not registered; trying again");
      return;
    case "accepted":
      logger.info({ ...news.version, providers: news.providers }, "a newer bundle");
      return;
    case "shortened":
      logger.warn(
        { provider: news.provider, byMs: Math.round(news.by) },
        "ends earlier than before",
      );
      return;
    case "refused":
      logger.warn({ code: news.code }, "a message is refused");
      return;
    case "runway-low":
      logger.warn(
        { provider: news.provider, generation: news.generation, leftMs: Math.round(news.left) },
        "little of its life is left, and nothing newer has come",
      );
      return;
    case "expired":
      logger.error({ provider: news.provider, generation: news.generation }, "expired");
      return;
    case "withdrawn":
      logger.info({ provider: news.provider, generation: news.generation }, "withdrawn");
      return;
    case "applied": {
      const { receiver, generation, took } = news;
      logger.info({ ...receiver, generation, tookMs: Math.round(took) }, "applied");
      return;
    }
    case "receiver-failed":
      // The receiver's own message was logged where it was caught.
      logger.debug({ ...news.receiver, code: news.code }, "a receiver has failed");
      return;
    case "unpersisted":
      logger.warn({ code: news.code }, "the state folder can't be written; going on without");
      return;
    case "clocks-parted":
      logger.warn({ byMs: Math.round(news.by) }, "the wall clock has moved; measuring again");
      return;
    case "ended":
      logger.info({}, "the job has ended; serving what is held until it expires");
  }
}
