// The page: whatever prices arrive are drawn. It sends nothing.
import { IDL } from "@dfinity/candid";
import { Page } from "../../../shared/page.js";
import { draw } from "./chart.js";

// The application's message type is the type of the feed's items.
const Price = IDL.Record({ id: IDL.Nat, time: IDL.Int, cents: IDL.Nat });

const SHOWN = 180; // three minutes

let prices = []; // oldest first
let isDue = false;

const page = new Page({
  name: "ticker",
  T: Price,
  meet: (_, isNew) => {
    if (!isNew) return;
    prices = []; // another network, another series
    drawSoon();
  },
  message: ({ id, time, cents }) => {
    const price = { id: Number(id), time: new Date(Number(time / 1_000_000n)), cents: Number(cents) };
    const newest = prices.at(-1);
    if (newest && price.id <= newest.id) {
      if (price.time <= newest.time) return; // whoever comes back gets some of the last ones once more
      prices = []; // the ticker was installed anew
    }
    prices.push(price);
    if (prices.length > SHOWN) prices.shift();
    drawSoon();
  },
});

/** Twenty prices that come together are one drawing. */
function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw(prices);
  });
}

page.open();
