/** One server-sent event. */
export type SseEvent = { event: string; data: string };
