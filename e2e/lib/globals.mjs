// What the stock client expects of a browser and Node 20 does not have. The client itself is used as it is.
import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket;

globalThis.ErrorEvent ??= class ErrorEvent extends Event {
  constructor(type, { error, message = error?.message ?? "", ...init } = {}) {
    super(type, init);
    this.error = error;
    this.message = message;
  }
};

globalThis.CloseEvent ??= class CloseEvent extends Event {
  constructor(type, { code = 0, reason = "", wasClean = false, ...init } = {}) {
    super(type, init);
    Object.assign(this, { code, reason, wasClean });
  }
};
