// The curve: prices from left to right, drawn anew with each one.
import { $, element } from "../../../shared/page.js";

const ROWS = 20;

export const money = (cents) => (cents / 100).toLocaleString([], { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** prices: {id, time: Date, cents}, oldest first. */
export function draw(prices) {
  $("empty").hidden = prices.length > 0;
  $("chart").hidden = prices.length === 0;
  if (prices.length === 0) {
    for (const id of ["change", "range"]) $(id).textContent = "";
    $("price").textContent = "-";
    $("rows").replaceChildren();
    return;
  }
  const newest = prices.at(-1);
  const before = prices.at(-2) ?? newest;
  const all = prices.map(({ cents }) => cents);
  const low = Math.min(...all);
  const high = Math.max(...all);

  $("price").textContent = money(newest.cents);
  const step = newest.cents - before.cents;
  $("change").dataset.way = step > 0 ? "up" : step < 0 ? "down" : "";
  $("change").textContent = `${step < 0 ? "\u2212" : "+"}${money(Math.abs(step))}`;
  $("high").textContent = money(high);
  $("low").textContent = money(low);
  $("range").textContent = prices.length === 1 ? "1 price" : `${prices.length} prices`;
  $("summary").textContent = `${clock(prices[0].time)} to ${clock(newest.time)}, between ${money(low)} and ${money(high)}.`;

  const first = prices[0].id;
  const x = ({ id }) => (newest.id === first ? 100 : ((id - first) / (newest.id - first)) * 100);
  const y = ({ cents }) => (high === low ? 50 : 100 - ((cents - low) / (high - low)) * 100);
  const stretches = split(prices);
  const line = (stretch) => stretch.map((p) => `${x(p).toFixed(2)} ${y(p).toFixed(2)}`).join("L");
  $("curve").setAttribute("d", stretches.map((s) => `M${line(s)}`).join(""));
  $("area").setAttribute("d", stretches.map((s) => `M${x(s[0]).toFixed(2)} 100L${line(s)}V100Z`).join(""));
  $("now").style.left = `${x(newest)}%`;
  $("now").style.top = `calc(${y(newest) / 100} * 15rem)`; // the height of the drawing, without the words below it

  $("rows").replaceChildren(...prices.slice(-ROWS).reverse().map(({ id, time, cents }) => {
    const row = element("tr", "");
    row.append(element("td", "", String(id)), element("td", "", clock(time)), element("td", "", money(cents)));
    return row;
  }));
}

/** Where prices are missing, because this window was away, the curve has a gap. */
function split(prices) {
  const stretches = [];
  for (const price of prices) {
    const stretch = stretches.at(-1);
    if (stretch && stretch.at(-1).id + 1 === price.id) stretch.push(price);
    else stretches.push([price]);
  }
  return stretches;
}

const clock = (time) => time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
