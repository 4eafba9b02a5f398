// Waiting for something with a deadline that says what did not come.

/** Resolves as the promise does, or rejects with what after ms. */
export async function within(ms, what, promise) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${typeof what === "function" ? what() : what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until ask() gives something truthy, and returns that. */
export async function until(ms, what, ask, every = 100) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${typeof what === "function" ? what() : what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
