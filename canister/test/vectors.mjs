export const vectors = { sources: {}, examine: {} };
